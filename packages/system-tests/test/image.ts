/** A Dockerfile, instruction by instruction, and its last stage as a folder of this machine. */
import { cpSync, existsSync, mkdirSync, symlinkSync } from "node:fs";
import path from "node:path";
import { DockerfileParser, ModifiableInstruction } from "dockerfile-ast";
import { read, root } from "./repository/workspaces.ts";

export interface Instruction {
  name: string;
  /** Flags without their dashes, such as `from=build`. */
  flags: string[];
  /** As the file has it, without flags, one line. */
  text: string;
  args: string[];
}

const joined = (text: string) => text.replaceAll(/\\\n\s*/g, " ").trim();

/** Its stages, each from FROM on. */
export function stagesOf(image: "control-plane" | "agent"): Instruction[][] {
  const stages: Instruction[][] = [];
  for (const instruction of DockerfileParser.parse(
    read(`deploy/docker/${image}.Dockerfile`),
  ).getInstructions()) {
    const words = joined(instruction.getRawArgumentsContent() ?? "");
    const flags =
      instruction instanceof ModifiableInstruction
        ? instruction.getFlags().map((flag) => `${flag.getName()}=${flag.getValue()}`)
        : [];
    const name = instruction.getKeyword();
    const text = name === "RUN" || name === "HEALTHCHECK" ? words : words.replace(/^(--\S+\s+)+/, "");
    if (name === "FROM") stages.push([]);
    stages.at(-1)?.push({ name, flags, text, args: text.split(/\s+/) });
  }
  return stages;
}

export const one = (stage: readonly Instruction[], name: string): Instruction => {
  const found = stage.filter((instruction) => instruction.name === name);
  if (found.length !== 1) throw new Error(`${found.length} times ${name}`);
  return found[0] as Instruction;
};

/** Where a path of the build stage is here: it is built in the root of the project. */
export const built = (source: string) => path.join(root, path.posix.relative("/build", source));

/**
 * Lays the last stage out below `folder`. Sources of tests and what is installed are not copied: the first are of no use in an image,
 * the second are led to.
 */
export function layOut(stage: readonly Instruction[], folder: string): string {
  const at = path.join(folder, one(stage, "WORKDIR").text);
  for (const { args } of stage.filter(({ name, flags }) => name === "COPY" && flags.includes("from=build"))) {
    const target = args.at(-1) ?? "";
    for (const source of args.slice(0, -1)) {
      if (source.startsWith("/build/sbom/")) continue;
      const place = path.resolve(at, target.startsWith("/") ? path.join(folder, target) : target);
      const to = target.endsWith("/") ? path.join(place, path.basename(source)) : place;
      mkdirSync(path.dirname(to), { recursive: true });
      if (source === "/build/node_modules") symlinkSync(built(source), to);
      else
        cpSync(built(source), to, {
          recursive: true,
          verbatimSymlinks: true,
          filter: (file) =>
            !/\/(src|test|vectors|recorded|examples)(\/|$)/.test(file.slice(root.length)) ||
            /\/src\/generated/.test(file),
        });
    }
  }
  if (!existsSync(at)) throw new Error(`nothing was copied to ${at}`);
  return at;
}
