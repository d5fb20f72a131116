/** What a wolf's Wolf can do, by its own description, and the images that it knows. */
import type { WolfImage, WolfInstance } from "@wolfpack/api-contract";
import { Badge, type Tone } from "../../ui/badge.tsx";
import { Empty } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { bytes, plain, sentence } from "../../ui/text.ts";
import { Time } from "../../ui/time.tsx";

const tones: Record<WolfImage["state"], Tone> = { present: "ok", absent: "neutral", unknown: "warning" };
const rowKey = ({ name }: WolfImage) => name;
const none: never[] = [];

const columns: readonly Column<WolfImage>[] = [
  {
    id: "name",
    header: "Image",
    value: ({ name }) => name,
    cell: ({ name }) => <code title={plain(name)}>{plain(name)}</code>,
  },
  {
    id: "state",
    header: "State",
    width: "8rem",
    value: ({ state }) => state,
    cell: ({ state }) => <Badge tone={tones[state] ?? "neutral"}>{sentence(state)}</Badge>,
  },
  {
    id: "size",
    header: "Size",
    width: "7rem",
    align: "end",
    value: ({ size_bytes }) => size_bytes,
    cell: ({ size_bytes }) => bytes(size_bytes),
  },
  {
    id: "created",
    header: "Created",
    width: "8rem",
    keepFrom: 3,
    value: ({ created_at }) => created_at,
    cell: ({ created_at }) => <Time at={created_at} never="–" />,
  },
];

export default function CapabilitiesTab({ wolf }: { wolf: WolfInstance }) {
  const { wolf_capabilities: capabilities, images } = wolf;
  return (
    <div className="stack">
      <section className="card" aria-label="Capabilities">
        <h2 className="card-head">Capabilities</h2>
        {!capabilities && (
          <p className="muted">
            Not known: its Wolf describes itself in a way that cannot be read, or has not been asked yet.
          </p>
        )}
        {capabilities && (
          <dl className="facts">
            <dt>Features</dt>
            <dd>
              {capabilities.features.length === 0 ? (
                <span className="muted">none besides the basics</span>
              ) : (
                <span className="row-wrap">
                  {capabilities.features.map((feature) => (
                    <Badge key={feature} tone="ok">
                      {plain(feature)}
                    </Badge>
                  ))}
                </span>
              )}
            </dd>
            <dt>Missing</dt>
            <dd>
              {capabilities.missing.length === 0 ? (
                <span className="muted">nothing that sessions need</span>
              ) : (
                <span className="row-wrap">
                  {capabilities.missing.map((route) => (
                    <Badge key={route} tone="danger">
                      {plain(route)}
                    </Badge>
                  ))}
                </span>
              )}
            </dd>
            <dt>Description</dt>
            <dd>
              <code className="wrap">{plain(capabilities.schema_hash)}</code>
            </dd>
          </dl>
        )}
      </section>
      <section className="card card-flush" aria-label="Images that its Wolf knows">
        <div className="card-head">
          <h2>Images</h2>
          <span className="muted small">of its lobbies and apps</span>
        </div>
        <Table
          label="Images that its Wolf knows"
          rows={images ?? none}
          columns={columns}
          rowKey={rowKey}
          empty={<Empty title={images ? "It names none" : "Not known"} icon="fleet" />}
        />
      </section>
    </div>
  );
}
