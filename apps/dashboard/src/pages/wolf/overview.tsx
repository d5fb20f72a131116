/** What a wolf is, on its axes; its capacity, its graphics cards and its disks. */
import type { WolfInstance } from "@wolfpack/api-contract";
import type { ReactNode } from "react";
import { intentOf, quarantineReason, slotsOf, vendorOf } from "../../fleet/wolf-words.ts";
import { Badge, toneOf } from "../../ui/badge.tsx";
import { CopyButton } from "../../ui/controls.tsx";
import { LoadBar } from "../../ui/load-bar.tsx";
import { bytes, plain, sentence, shortId } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";
import { Disks } from "./disks.tsx";
import { Gpus } from "./gpus.tsx";

const MIB = 2 ** 20;

export function Overview({ wolf }: { wolf: WolfInstance }) {
  return (
    <div className="stack">
      <div className="wolf-cards">
        <Axes wolf={wolf} />
        <Capacity wolf={wolf} />
        <Identity wolf={wolf} />
      </div>
      <Gpus wolf={wolf} />
      <Disks wolf={wolf} />
    </div>
  );
}

function Axes({ wolf }: { wolf: WolfInstance }) {
  const { connectivity, health, health_reasons, quarantine, tunnel } = wolf;
  const intent = intentOf(wolf);
  return (
    <section className="card">
      <h2 className="card-head">State</h2>
      <dl className="facts">
        <Fact name="Connectivity">
          <Badge tone={toneOf(connectivity)}>{sentence(connectivity)}</Badge>{" "}
          <span className="muted small wolf-since">
            {tunnel ? (
              <>
                tunnel since <Time at={tunnel.since} />
              </>
            ) : (
              <>
                last seen <Time at={wolf.last_heartbeat} />
              </>
            )}
          </span>
        </Fact>
        <Fact name="Health">
          <Badge tone={toneOf(health)}>{sentence(health)}</Badge>
          {health_reasons.length > 0 && (
            <ul className="wolf-reasons">
              {health_reasons.map(({ code, detail }) => (
                <li key={code}>
                  <code>{plain(code)}</code> {plain(detail)}
                </li>
              ))}
            </ul>
          )}
        </Fact>
        <Fact name="Intent">
          <Badge tone={intent.tone}>{intent.word}</Badge>{" "}
          {wolf.intent_reason && <span className="muted">{plain(wolf.intent_reason)}</span>}
        </Fact>
        {quarantine && (
          <Fact name="Quarantine">
            until <Time at={quarantine.until} />: {quarantineReason(quarantine.reason)}
            {quarantine.times > 1 && ` (${quarantine.times} times)`}
          </Fact>
        )}
        <Fact name="Compared">
          {wolf.reconciled ? (
            "What its Wolf runs fits its sessions"
          ) : (
            <span className="muted">Not yet, so it gets no sessions</span>
          )}
        </Fact>
        {(wolf.wolf_restarts ?? 0) > 0 && <Fact name="Restarts">{wolf.wolf_restarts} of its Wolf</Fact>}
      </dl>
    </section>
  );
}

function Capacity({ wolf }: { wolf: WolfInstance }) {
  const slots = slotsOf(wolf);
  const vram = wolf.capacity?.vram_mb;
  const encoders = wolf.capacity?.encoder_sessions;
  const { host, usage } = wolf;
  const memoryFree = usage?.memory_available_bytes ?? null;
  return (
    <section className="card">
      <h2 className="card-head">Capacity</h2>
      <dl className="wolf-loads">
        <Load name="Slots">
          <LoadBar label="Slots" {...slots} />
        </Load>
        {vram && vram.max !== null && (
          <Load name="Video memory">
            <LoadBar
              label="Video memory"
              used={vram.claimed}
              other={vram.other}
              max={vram.max}
              text={`${claimed(vram.claimed + vram.other)} of ${bytes(vram.max * MIB)}`}
            />
          </Load>
        )}
        {encoders && encoders.max !== null && (
          <Load name="Encoders">
            <LoadBar
              label="Encoder sessions"
              used={encoders.claimed}
              other={encoders.other}
              max={encoders.max}
            />
          </Load>
        )}
        {host && memoryFree !== null && (
          <Load name="Memory">
            <LoadBar
              label="Memory"
              used={host.memory_bytes - memoryFree}
              max={host.memory_bytes}
              text={`${bytes(host.memory_bytes - memoryFree)} / ${bytes(host.memory_bytes)}`}
              warnAt={0.9}
            />
          </Load>
        )}
        {host?.cpu_count && usage?.cpu_load !== null && usage?.cpu_load !== undefined && (
          <Load name="CPU load">
            <LoadBar
              label="CPU load"
              used={Math.round(usage.cpu_load * 10) / 10}
              max={host.cpu_count}
              text={`${usage.cpu_load.toFixed(1)} of ${host.cpu_count}`}
            />
          </Load>
        )}
      </dl>
      <p className="muted small wolf-note">
        {usage ? (
          <>
            Figures of the host <Time at={usage.received_at} />
          </>
        ) : (
          "Its agent has told no figures yet"
        )}
      </p>
    </section>
  );
}

/** What sessions have been promised, which is not what the cards use now. */
const claimed = (mib: number) => (mib === 0 ? "none claimed" : `${bytes(mib * MIB)} claimed`);

function Identity({ wolf }: { wolf: WolfInstance }) {
  const labels = Object.entries(wolf.labels);
  const { host } = wolf;
  return (
    <section className="card">
      <h2 className="card-head">Identity</h2>
      <dl className="facts">
        <Fact name="Id">
          <span className="wolf-id">
            <code title={plain(wolf.id)}>{shortId(wolf.id)}</code>
            <CopyButton text={wolf.id} label="Copy the id" />
          </span>
        </Fact>
        {wolf.address && <Fact name="Address">{plain(wolf.address)}</Fact>}
        <Fact name="Region">{plain(wolf.region) || <span className="muted">none</span>}</Fact>
        <Fact name="GPU">{plain(wolf.gpu_model) || vendorOf(wolf)}</Fact>
        {host?.cpu_model && (
          <Fact name="CPU">
            {plain(host.cpu_model)}
            {host.cpu_count && <span className="muted"> × {host.cpu_count}</span>}
          </Fact>
        )}
        <Fact name="Agent">{plain(wolf.agent_version) || "–"}</Fact>
        <Fact name="Labels">
          {labels.length === 0 ? (
            <span className="muted">none</span>
          ) : (
            <span className="row-wrap wolf-labels">
              {labels.map(([name, value]) => (
                <code key={name} className="wolf-label">
                  {plain(name)}={plain(value)}
                </code>
              ))}
            </span>
          )}
        </Fact>
        {wolf.cost_per_hour !== null && <Fact name="Cost">{wolf.cost_per_hour} an hour</Fact>}
        <Fact name="Joined">
          <Time at={wolf.created_at} />
        </Fact>
      </dl>
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

function Load({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt className="muted">{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
