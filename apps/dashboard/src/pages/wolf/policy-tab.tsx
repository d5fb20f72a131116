/** What the guard of a wolf lets through: the table as the owner of its host has changed it. */
import type { CallReply, WolfInstance } from "@wolfpack/api-contract";
import type { ReactNode } from "react";
import { useRead } from "../../api/queries.ts";
import { Badge, Mark } from "../../ui/badge.tsx";
import { Empty, Loaded, Skeleton } from "../../ui/states.tsx";
import { limitOf, plain } from "../../ui/text.ts";

type View = CallReply<"getWolfPolicy">["body"];
type Policy = NonNullable<View["policy"]>;

const why = {
  "agent-too-old": "Its agent is too old to say it. Update the agent.",
  "answer-broken": "Its agent says something that is no policy.",
} as const;

export default function PolicyTab({ wolf }: { wolf: WolfInstance }) {
  const view = useRead("getWolfPolicy", { params: { id: wolf.id } }, { retry: false });
  return (
    <Loaded
      query={view}
      skeleton={
        <div className="card">
          <Skeleton lines={8} />
        </div>
      }
    >
      {({ guard, policy, unknown_because }) => (
        <div className="stack">
          <p className="muted">
            {guard === "agent"
              ? "The guard is in its agent, on the host: it checks every request before Wolf's socket."
              : "The guard is in the control plane, since its agent only passes on bytes."}
          </p>
          {policy ? (
            <Shown policy={policy} />
          ) : (
            <div className="card">
              <Empty title="Its policy is not known" icon="access">
                {unknown_because && why[unknown_because]}
              </Empty>
            </div>
          )}
        </div>
      )}
    </Loaded>
  );
}

function Shown({ policy }: { policy: Policy }) {
  return (
    <>
      <div className="grid-2">
        <section className="card" aria-label="What sandboxes may have">
          <h2 className="card-head">What sandboxes may have</h2>
          <dl className="facts wolf-policy">
            <dt>Mounts below</dt>
            <dd>{names(policy.mount_folders)}</dd>
            <dt>State below</dt>
            <dd>{names(policy.state_folders)}</dd>
            {policy.helix_homes && (
              <>
                <dt>Homes of Helix</dt>
                <dd>{names([policy.helix_homes])}</dd>
              </>
            )}
            <dt>Images</dt>
            <dd>{policy.image_prefixes === null ? "any" : names(policy.image_prefixes)}</dd>
            <Switch name="Process runners" on={policy.process_runners} />
            <Switch name="Own container settings" on={policy.base_create_json} />
            <Switch name="Own pipelines" on={policy.pipelines} />
            <Switch name="Keys and PINs in answers" on={policy.secrets} />
          </dl>
        </section>
        <section className="card" aria-label="Limits">
          <h2 className="card-head">Limits</h2>
          <table className="wolf-limits">
            <thead>
              <tr>
                <th scope="col">Class</th>
                <th scope="col">At once</th>
                <th scope="col">Waiting</th>
                <th scope="col">Wait</th>
                <th scope="col">Timeout</th>
              </tr>
            </thead>
            <tbody>
              {Object.entries(policy.limits).map(([name, limit]) => (
                <tr key={name}>
                  <th scope="row">{plain(name)}</th>
                  <td>{limit.concurrent_max}</td>
                  <td>{limit.waiting_max}</td>
                  <td>{limitOf(limit.wait_ms)}</td>
                  <td>{limitOf(limit.timeout_ms)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      </div>
      <div className="grid-2">
        <section className="card" aria-label="Open routes">
          <div className="card-head">
            <h2>Open routes</h2>
            <Badge tone="ok">{policy.open.length}</Badge>
          </div>
          <ul className="wolf-routes">
            {policy.open.map((route) => (
              <li key={route}>
                <Mark tone="ok" />
                <code className="wrap">{plain(route)}</code>
              </li>
            ))}
          </ul>
        </section>
        <section className="card" aria-label="Closed routes">
          <div className="card-head">
            <h2>Closed routes</h2>
            <Badge tone="neutral">{policy.closed.length}</Badge>
          </div>
          <ul className="wolf-routes">
            {policy.closed.map(({ route, because }) => (
              <li key={route}>
                <Mark tone="neutral" />
                <span>
                  <code className="wrap">{plain(route)}</code>
                  <span className="muted small wolf-because">{plain(because)}</span>
                </span>
              </li>
            ))}
          </ul>
        </section>
      </div>
    </>
  );
}

function Switch({ name, on }: { name: string; on: boolean }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <Badge tone={on ? "warning" : "ok"}>{on ? "allowed" : "refused"}</Badge>
      </dd>
    </>
  );
}

function names(list: readonly string[]): ReactNode {
  if (list.length === 0) return <span className="muted">none</span>;
  return (
    <span className="row-wrap wolf-labels">
      {list.map((name) => (
        <code key={name} className="wolf-label">
          {plain(name)}
        </code>
      ))}
    </span>
  );
}
