/** The demo's scenario: users, sessions, a screen, a lost agent and its return; each step says what it saw or why it does not hold. */

import {
  type CallReply,
  type WolfInstance,
  WolfpackApiError,
  type WolfpackClient,
} from "@wolfpack/api-contract";
import { lobbiesOn } from "./lobbies-on.ts";
import { readPng } from "./png-check.ts";
import { type Stack, threeHosts } from "./stack.ts";

type Session = CallReply<"getSession">["body"];

export interface DemoStep {
  name: string;
  /** What was seen, in a sentence. Rejects when the step does not hold. */
  run: () => Promise<string>;
}

const SESSIONS = 20;
/** Two equal nvidia hosts and a smaller amd one: twelve sessions want nvidia, four amd, four take what they get. */
const wishes = [
  ...Array<"nvidia">(12).fill("nvidia"),
  ...Array<"amd">(4).fill("amd"),
  ...Array<undefined>(4).fill(undefined),
];

function check(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

async function failureCode(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "no failure";
  } catch (error) {
    return error instanceof WolfpackApiError ? `${error.status} ${error.code}` : String(error);
  }
}

export function* playScenario(
  stack: Stack,
  savePng: (name: string, bytes: Uint8Array) => string,
): Generator<DemoStep> {
  const admin = stack.client();
  let ann!: WolfpackClient;
  let ben!: WolfpackClient;
  let sessions: Session[] = [];
  let lostName = "";

  const wolves = async (): Promise<WolfInstance[]> => (await admin.call("listWolves", {})).body;
  const wolfNamed = async (name: string): Promise<WolfInstance> => {
    const wolf = (await wolves()).find((candidate) => candidate.name === name);
    check(wolf !== undefined, `there is no wolf ${name}`);
    return wolf;
  };
  const counts = (fleet: readonly WolfInstance[]) =>
    fleet.map((wolf) => `${wolf.name} ${wolf.connected_sandboxes}/${wolf.max_sandboxes}`).join(", ");
  const sessionsOf = (wolf: WolfInstance) =>
    sessions.filter((session) => session.wolf_instance_id === wolf.id);

  yield {
    name: "Two users with keys of their own",
    async run() {
      const make = async (name: string) => {
        const { body: user } = await admin.call("createUser", { body: { name } });
        const { body: key } = await admin.call("createApiKey", { body: { name: "demo", user_id: user.id } });
        return stack.client(key.key);
      };
      ann = await make("ann");
      ben = await make("ben");
      return "ann (A) and ben (B); only hashes of their keys are kept";
    },
  };

  yield {
    name: `${SESSIONS} sessions for A and B, spread over the fleet`,
    async run() {
      sessions = await Promise.all(
        wishes.map(async (gpu_type, index) => {
          const owner = index % 2 === 0 ? ann : ben;
          return (await owner.call("createSession", { body: gpu_type === undefined ? {} : { gpu_type } }))
            .body;
        }),
      );
      const fleet = await wolves();
      check(
        sessions.every((session) => session.status === "running"),
        `not all run: ${sessions.map((session) => session.status).join(", ")}`,
      );
      for (const wolf of fleet) {
        check(wolf.connected_sandboxes <= wolf.max_sandboxes, `${wolf.name} is above its capacity`);
        check(
          wolf.connected_sandboxes === sessionsOf(wolf).length,
          `${wolf.name} counts ${wolf.connected_sandboxes}, has ${sessionsOf(wolf).length}`,
        );
      }
      const [first, second] = fleet
        .filter((wolf) => wolf.gpu_type === "nvidia")
        .map((wolf) => wolf.connected_sandboxes);
      check(
        Math.abs((first ?? 0) - (second ?? 0)) <= 1,
        `the two nvidia wolves differ by more than one: ${counts(fleet)}`,
      );
      wishes.forEach((wish, index) => {
        const wolf = fleet.find((candidate) => candidate.id === sessions[index]?.wolf_instance_id);
        check(
          wish === undefined || wolf?.gpu_type === wish,
          `session ${index} wanted ${wish} and got ${wolf?.gpu_type}`,
        );
      });
      return `${counts(fleet)}; equal wolves within one, none above capacity`;
    },
  };

  yield {
    name: "Screenshot of a sandbox, through the tunnel",
    async run() {
      const [session] = sessions;
      check(session !== undefined, "there is no session");
      const { body } = await ann.call("getScreenshot", { params: { id: session.id } });
      const { width, height, texts } = readPng(body);
      check(
        texts["wolfpack-session"] === session.id,
        `the picture shows ${texts["wolfpack-session"]}, not ${session.id}`,
      );
      return `${savePng("screenshot.png", body)}: ${width}x${height}, shows ${session.id} at ${texts["wolfpack-time"]}`;
    },
  };

  yield {
    name: "Clipboard round trip",
    async run() {
      const id = sessions[0]?.id ?? "";
      const text = "wolves hunt in packs – 狼";
      await ann.call("setClipboard", { params: { id }, body: { text } });
      const { body } = await ann.call("getExternalAgentClipboard", { params: { session_id: id } });
      check(body.text === text, `set "${text}", got "${body.text}"`);
      return `set and read back "${body.text}" under both paths`;
    },
  };

  yield {
    name: "B cannot see A's session",
    async run() {
      const id = sessions[0]?.id ?? "";
      const answers = await Promise.all([
        failureCode(ben.call("getSession", { params: { id } })),
        failureCode(ben.call("getScreenshot", { params: { id } })),
        failureCode(ben.call("stopSession", { params: { id } })),
      ]);
      check(
        answers.every((answer) => answer === "404 session-not-found"),
        `answers were ${answers.join(", ")}`,
      );
      const { body } = await ben.call("listSessions", {});
      check(body.length === SESSIONS / 2, `B lists ${body.length} sessions`);
      return "get, screenshot and stop answer 404; B's list has only B's sessions";
    },
  };

  yield {
    name: "An agent is killed: its wolf is suspect at once, offline later",
    async run() {
      lostName = threeHosts[0]?.name ?? "";
      const before = await wolfNamed(lostName);
      await stack.killAgent(lostName);
      await stack.until(
        `${lostName} is suspect`,
        async () => (await wolfNamed(lostName)).connectivity === "suspect",
        2000,
      );
      const { body: session } = await ann.call("createSession", { body: { gpu_type: "nvidia" } });
      sessions.push(session);
      check(session.wolf_instance_id !== before.id, "a new session went to the suspect wolf");
      await stack.until(
        `${lostName} is offline`,
        async () => (await wolfNamed(lostName)).status === "offline",
        15_000,
      );
      const after = await wolfNamed(lostName);
      const [one] = sessionsOf(before);
      const { body: kept } = await admin.call("getSession", { params: { id: one?.id ?? "" } });
      check(
        after.connected_sandboxes === before.connected_sandboxes,
        "the lost wolf's sessions were given up",
      );
      check(
        kept.status === "lost" && !kept.reachable,
        `its session is ${kept.status}, reachable ${kept.reachable}`,
      );
      return `${lostName}: suspect, then offline; a new session went elsewhere; its ${after.connected_sandboxes} sessions wait for it`;
    },
  };

  yield {
    name: "The agent returns: sessions are matched again, nothing counts twice",
    async run() {
      const before = await wolfNamed(lostName);
      await stack.startAgent(lostName);
      await stack.until(
        `${lostName} is online`,
        async () => (await wolfNamed(lostName)).status === "online",
        20_000,
      );
      await stack.until(
        "its sessions are reachable",
        async (api) => {
          const { body } = await api.call("listSessions", {
            query: { wolf_instance_id: before.id, status: "running" },
          });
          return body.length === sessionsOf(before).length && body.every((session) => session.reachable);
        },
        10_000,
      );
      const after = await wolfNamed(lostName);
      check(after.id === before.id, "the wolf came back as another");
      check(
        after.connected_sandboxes === sessionsOf(before).length,
        `counts ${after.connected_sandboxes}, has ${sessionsOf(before).length}`,
      );
      check((after.tunnel?.epoch ?? 0) > 1, "the epoch did not rise");
      const lobbies = await lobbiesOn(stack.socketOf(lostName));
      check(lobbies.length === after.connected_sandboxes, `Wolf runs ${lobbies.length} lobbies`);
      return `${lostName}: same id, epoch ${after.tunnel?.epoch}, ${after.connected_sandboxes} sessions, ${lobbies.length} lobbies on its Wolf`;
    },
  };

  yield {
    name: "Everything stopped: no slot taken, no lobby left",
    async run() {
      const { body: all } = await admin.call("listSessions", { query: { status: "running" } });
      check(all.length === sessions.length, `${all.length} sessions run, ${sessions.length} were made`);
      const answers = await Promise.all(
        all.map((session) => admin.call("stopSession", { params: { id: session.id } })),
      );
      check(
        answers.every((answer) => answer.status === 204),
        "not every stop was confirmed",
      );
      const fleet = await wolves();
      check(
        fleet.every((wolf) => wolf.connected_sandboxes === 0),
        `slots are still taken: ${counts(fleet)}`,
      );
      const left = (await Promise.all(threeHosts.map(({ name }) => lobbiesOn(stack.socketOf(name))))).flat();
      check(left.length === 0, `${left.length} lobbies are left`);
      return `${counts(fleet)}; asked on their sockets, the three Wolfs run no lobby`;
    },
  };
}
