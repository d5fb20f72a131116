/** `npm start`: a working fleet on this machine until Ctrl-C, and what to type to use it. */
import path from "node:path";
import { interrupted } from "./interrupt.ts";
import { ChildFailed, root, Stack, threeHosts } from "./stack.ts";

const say = (line: string) => process.stderr.write(`${line}\n`);

function portFrom(text: string | undefined): number {
  if (text === undefined || text === "") return 8080;
  if (/^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535) return Number(text);
  say("PORT has to be a number from 1 to 65535.");
  process.exit(2);
}

/** Lines that work when pasted as they are, in the clone's folder. */
export function curlLines(baseUrl: string, keyFile: string): string {
  const auth = `-H "Authorization: Bearer $(cat ${keyFile})"`;
  const api = `${baseUrl}/api/v1`;
  return `
  # List wolves
  curl -s ${auth} ${api}/wolf-instances

  # Create a session, and keep its id
  SESSION=$(curl -s ${auth} -H 'Content-Type: application/json' -d '{"gpu_type":"nvidia"}' ${api}/sessions | sed -n 's/^{"id":"\\([^"]*\\)".*/\\1/p'); echo $SESSION

  # Fetch its screenshot into a PNG
  curl -s ${auth} -o screenshot.png ${api}/sessions/$SESSION/screenshot; ls -l screenshot.png

  # Stop it
  curl -s -o /dev/null -w '%{http_code}\\n' -X DELETE ${auth} ${api}/sessions/$SESSION
`;
}

async function main(args: readonly string[]): Promise<number> {
  if (args.length > 0) {
    say("usage: npm start   (PORT and DATA_DIR are environment variables)");
    return 2;
  }
  const signal = interrupted();
  const dataDir = path.resolve(root, process.env.DATA_DIR || ".data");
  const crash = Promise.withResolvers<string>();
  const starting = Stack.start({
    dataDir,
    port: portFrom(process.env.PORT),
    hosts: threeHosts,
    say,
    onCrash: (name, code) =>
      crash.resolve(
        `The ${name} ended by itself with code ${code}; its log is in ${path.join(dataDir, "logs")}.`,
      ),
  });
  const early = await Promise.race([starting, signal]);
  const stack = await starting;
  if (typeof early !== "string") {
    const keyFile = path.relative(process.cwd(), path.join(dataDir, "admin-api-key"));
    process.stdout.write(`
Wolfpack runs: 3 wolves (2 nvidia, 1 amd) are online.

  Dashboard       ${stack.baseUrl}/  (sign in with the admin API key)
  Base URL        ${stack.baseUrl}
  Swagger UI      ${stack.baseUrl}/swagger/index.html
  Admin API key   ${stack.adminKey}
                  (also in ${keyFile})
  Logs            ${path.relative(process.cwd(), stack.logFolder)}

Paste these:
${curlLines(stack.baseUrl, keyFile)}
Ctrl-C stops everything; the data stays in ${path.relative(process.cwd(), dataDir)}.
`);
  }
  const why = await Promise.race([signal, crash.promise]);
  const byPerson = why.startsWith("SIG");
  say(byPerson ? "\nStopping …" : why);
  await stack.stop();
  say("Stopped.");
  return byPerson ? 0 : 1;
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof ChildFailed)) throw error;
  say(error.message);
  process.exit(1);
}
