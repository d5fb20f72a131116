// Renders deploy/kubernetes/<overlay> into deploy/kubernetes/rendered/<overlay>.yaml, for those who have no kustomize. Needs kubectl.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

for (const overlay of ["nvidia", "amd", "control-plane"]) {
  const folder = fileURLToPath(new URL(`../deploy/kubernetes/${overlay}`, import.meta.url));
  const file = fileURLToPath(new URL(`../deploy/kubernetes/rendered/${overlay}.yaml`, import.meta.url));
  const rendered = execFileSync("kubectl", ["kustomize", folder], { encoding: "utf8" });
  const head = `# Made of ../${overlay} by \`npx pnpm@12 kubernetes:render\`: edit there. Why things are so is said in ${overlay === "control-plane" ? "the files there" : "../base"}.\n`;
  writeFileSync(file, head + rendered);
}
