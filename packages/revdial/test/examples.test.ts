import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "@jest/globals";
import { WebSocket } from "ws";

const running: ChildProcess[] = [];
const servers: Server[] = [];

afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A real process, and the next line of its output that matches. */
function start(file: string, args: readonly string[], token = "secret") {
  const path = fileURLToPath(new URL(`../examples/${file}`, import.meta.url));
  const env = { ...process.env, TOKEN: token };
  const child = spawn(process.execPath, [path, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  running.push(child);
  const lines = createInterface({ input: child.stdout });
  const line = (pattern: RegExp) =>
    new Promise<string>((resolve) => {
      const take = (text: string) => {
        if (!pattern.test(text)) return;
        lines.off("line", take);
        resolve(text);
      };
      lines.on("line", take);
    });
  return { child, line };
}

/** A web server, for an agent to show. */
async function website(page: string): Promise<string> {
  const web = createServer((request, response) => {
    if (request.url === "/events") response.write("event\n");
    else response.end(`${page} ${request.url}`);
  });
  web.on("upgrade", (_request, socket, head) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    socket.write(head);
    socket.pipe(socket);
  });
  servers.push(web);
  web.listen(0, "127.0.0.1");
  await once(web, "listening");
  return String((web.address() as AddressInfo).port);
}

async function pair(): Promise<{
  base: string;
  port: number;
  server: ReturnType<typeof start>;
  agent: ChildProcess;
}> {
  const page = await website("page");
  const server = start("server.mjs", ["0"]);
  const base = (await server.line(/^listening on/)).replace("listening on ", "");
  const { port } = new URL(base);
  const known = server.line(/^home is connected/);
  const agent = start("agent.mjs", [`ws://127.0.0.1:${port}`, "home", page]);
  await known;
  return { base, port: Number(port), server, agent: agent.child };
}

describe("the examples", () => {
  it("show a page and an upgraded connection of the agent's host, and say clearly when the agent is gone", async () => {
    const { base, port, server, agent } = await pair();
    expect(await (await fetch(`${base}/home/a?b=c`)).text()).toBe("page /a?b=c");
    const socket = connect(port, "127.0.0.1");
    socket.write("GET /home/ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhello");
    let heard = "";
    for await (const chunk of socket) {
      heard += chunk;
      if (heard.endsWith("hello")) break;
    }
    expect(heard).toMatch(/^HTTP\/1.1 101 /);
    const gone = server.line(/^home is gone/);
    agent.kill("SIGKILL");
    await gone;
    const answer = await fetch(`${base}/home/`);
    expect([answer.status, await answer.text()]).toEqual([503, "no such agent is connected\n"]);
  });

  it("end in order at SIGINT", async () => {
    const { server, agent } = await pair();
    const gone = server.line(/^home is gone/);
    agent.kill("SIGINT");
    expect(await once(agent, "exit")).toEqual([0, null]);
    await gone;
    server.child.kill("SIGINT");
    expect(await once(server.child, "exit")).toEqual([0, null]);
  });

  it.each([
    ["an agent that is refused", "/connect/home"],
    ["a client of an agent that is not connected", "/home/"],
  ])("survive %s and resets its connection", async (_who, path) => {
    const server = start("server.mjs", ["0"]);
    const { port } = new URL((await server.line(/^listening on/)).replace("listening on ", ""));
    const head = `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
    for (let i = 0; i < 300; i += 1) {
      const socket = connect(Number(port), "127.0.0.1").on("error", () => undefined);
      const closed = once(socket, "close");
      await Promise.race([once(socket, "connect"), closed]);
      // Often, not always, the server writes its refusal to a connection that is gone.
      socket.write(head + "x".repeat(60_000), () => socket.resetAndDestroy());
      await closed;
    }
    expect((await fetch(`http://127.0.0.1:${port}/home/`)).status).toBe(503);
  });

  it("show the newer of two agents of one name, and end the older", async () => {
    const { base, port, server, agent } = await pair();
    const known = server.line(/^home is connected/);
    const gone = server.line(/^home is gone/);
    const newer = start("agent.mjs", [`ws://127.0.0.1:${port}`, "home", await website("newer")]);
    await known;
    expect(await once(agent, "exit")).toEqual([0, null]);
    await gone;
    expect(newer.child.exitCode).toBeNull();
    expect(await (await fetch(`${base}/home/a`)).text()).toBe("newer /a");
  });

  it("keep the agent that works when another of its name is upgraded and says nothing", async () => {
    const { base, port, server, agent } = await pair();
    const silent = new WebSocket(`ws://127.0.0.1:${port}/connect/home`, "revdial.v3", {
      headers: { authorization: "Bearer secret" },
    });
    await once(silent, "open");
    for (let n = 0; n < 5; n += 1) expect(await (await fetch(`${base}/home/a`)).text()).toBe("page /a");
    const draining = server.line(/^draining/);
    const agentEnds = once(agent, "exit");
    // It never was the agent, so its end is none of the agent's; the server's own end is for both.
    const closed = once(silent, "close");
    silent.terminate();
    await closed;
    expect(await (await fetch(`${base}/home/b`)).text()).toBe("page /b");
    expect(agent.exitCode).toBeNull();
    server.child.kill("SIGINT");
    expect(await draining).toMatch(/^draining [12] tunnels, /);
    expect(await once(server.child, "exit")).toEqual([0, null]);
    agent.kill("SIGINT");
    await agentEnds;
  });

  it("say that the server drains, and end at a second SIGINT though a stream is open", async () => {
    const { base, server } = await pair();
    const events = await fetch(`${base}/home/events`);
    const draining = server.line(/^draining/);
    server.child.kill("SIGINT");
    expect(await draining).toBe("draining 1 tunnels, Ctrl-C again ends");
    expect(server.child.exitCode).toBeNull();
    server.child.kill("SIGINT");
    expect(await once(server.child, "exit")).toEqual([1, null]);
    await events.text().catch(() => undefined);
  });

  it("listen on the address they are given", async () => {
    const server = start("server.mjs", ["0", "0.0.0.0"]);
    expect(await server.line(/^listening on/)).toMatch(/^listening on http:\/\/0\.0\.0\.0:\d+$/);
  });

  it("take a page's address in absolute form", async () => {
    const { port } = await pair();
    const socket = connect(port, "127.0.0.1");
    socket.write(`GET http://127.0.0.1:${port}/home/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    let heard = "";
    for await (const chunk of socket) heard += chunk;
    expect(heard).toMatch(/^HTTP\/1.1 200 .*page \/a$/s);
  });

  it("tell an agent with a wrong token why it is not connected", async () => {
    const server = start("server.mjs", ["0"]);
    const { port } = new URL((await server.line(/^listening on/)).replace("listening on ", ""));
    const agent = start("agent.mjs", [`ws://127.0.0.1:${port}`, "home", "1"], "wrong");
    expect(await agent.line(/^not connected/)).toBe("not connected: DIAL_REFUSED");
  });

  it.each([
    ["server.mjs", ["99999"]],
    ["server.mjs", ["port"]],
    ["server.mjs", ["0", "everywhere"]],
    ["agent.mjs", []],
    ["agent.mjs", ["http://127.0.0.1", "home", "80"]],
    ["agent.mjs", ["ws://127.0.0.1", "Not A Name", "80"]],
    ["agent.mjs", ["ws://127.0.0.1", "home", "0"]],
  ])("refuse wrong arguments with 2 and one line: %s %j", async (file, args) => {
    const { child } = start(file, args);
    let told = "";
    child.stderr?.on("data", (text) => {
      told += text;
    });
    expect(await once(child, "close")).toEqual([2, null]);
    expect(told).toMatch(/^usage: .+\n$/);
  });
});
