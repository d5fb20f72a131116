/** How a host joins with a token, for each kind of deployment: commands to copy, none of which holds the token. */
import type { JoinToken } from "@wolfpack/api-contract";
import { Tabs } from "radix-ui";
import { useState } from "react";
import { Choice, CopyButton, Field } from "../../ui/controls.tsx";
import { plain } from "../../ui/text.ts";
import { wolfNameError } from "./access-words.ts";
import {
  controlPlaneUrl,
  type Deployment,
  deployments,
  type Gpu,
  gpuTypes,
  isOffered,
  kubernetesNote,
  type Step,
  stepsFor,
} from "./agent-commands.ts";

type Bound = Pick<JoinToken, "wolf_name" | "uses_max">;

export function AgentCommandsPanel({ token }: { token: Bound }) {
  const [url, setUrl] = useState(location.origin);
  const [name, setName] = useState(token.wolf_name ?? "gpu-1");
  const [gpu, setGpu] = useState<Gpu>("nvidia");
  const origin = controlPlaneUrl(url);
  const nameError = wolfNameError(name);
  return (
    <section className="access-commands" aria-label="On the host">
      <h3>On the host</h3>
      <div className="access-fields">
        <Field
          label="Control plane"
          hint="As the host reaches it"
          error={origin ? undefined : "https://…, without a path"}
        >
          {(ids) => (
            <input
              {...ids}
              className="input"
              autoComplete="off"
              spellCheck={false}
              value={url}
              onChange={(event) => setUrl(event.target.value)}
            />
          )}
        </Field>
        <Field
          label="Wolf"
          hint={token.wolf_name ? "The only name of this token" : "Its name in the fleet"}
          error={nameError}
        >
          {(ids) => (
            <input
              {...ids}
              className="input"
              autoComplete="off"
              spellCheck={false}
              readOnly={token.wolf_name !== null}
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
        <Field label="GPU" hint="For Compose and Kubernetes">
          {(ids) => (
            <Choice
              {...ids}
              value={gpu}
              onChange={(value) => setGpu(value as Gpu)}
              options={gpuTypes.map((type) => [type, gpuWords[type]] as const)}
            />
          )}
        </Field>
      </div>
      {origin === undefined || nameError ? (
        <p className="muted">The commands appear once both are right.</p>
      ) : (
        <Commands token={token} url={origin} wolf={name} gpu={gpu} />
      )}
    </section>
  );
}

const gpuWords: Record<Gpu, string> = { nvidia: "NVIDIA", amd: "AMD", intel: "Intel", none: "None" };

function Commands({ token, url, wolf, gpu }: { token: Bound; url: string; wolf: string; gpu: Gpu }) {
  const [deployment, setDeployment] = useState<Deployment>("systemd");
  return (
    <Tabs.Root value={deployment} onValueChange={(value) => setDeployment(value as Deployment)}>
      <Tabs.List className="tabs" aria-label="Kind of deployment">
        {deployments.map(([kind, words]) => (
          <Tabs.Trigger key={kind} value={kind} className="tab">
            {words}
          </Tabs.Trigger>
        ))}
      </Tabs.List>
      <Tabs.Content value={deployment} tabIndex={-1} className="access-tab">
        {!isOffered(deployment, gpu) && (
          <p className="muted" role="status">
            For Kubernetes there are manifests for nodes with NVIDIA and with AMD cards. Choose another kind
            of deployment for this host.
          </p>
        )}
        {deployment === "kubernetes" && isOffered(deployment, gpu) && (
          <p className="small muted">{plain(kubernetesNote(token.wolf_name, token.uses_max))}</p>
        )}
        <ol className="access-steps">
          {stepsFor(deployment, { url, wolf, gpu }).map((step, index) => (
            <CommandStep key={step.title} step={step} number={index + 1} />
          ))}
        </ol>
      </Tabs.Content>
    </Tabs.Root>
  );
}

function CommandStep({ step, number }: { step: Step; number: number }) {
  return (
    <li>
      <p className="access-step-title">
        {number}. {step.title}
      </p>
      <div className="access-command">
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: whoever has no mouse scrolls it by the keyboard */}
        <pre tabIndex={0}>{step.commands}</pre>
        <CopyButton text={`${step.commands}\n`} label={`Copy step ${number}`} />
      </div>
      {step.takesToken && (
        <p className="small muted">
          Paste the token when it waits, then <kbd>Enter</kbd> and <kbd>Ctrl</kbd>-<kbd>D</kbd>. So it is in
          no history and in no list of processes.
        </p>
      )}
    </li>
  );
}
