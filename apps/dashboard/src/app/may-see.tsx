/** A page for those who may see it; everyone else reads why there is nothing. The control plane decides again with each read. */
import { Link } from "@tanstack/react-router";
import type { Action } from "@wolfpack/api-contract";
import { Fragment, type ReactNode } from "react";
import { mayDo, useMe } from "../api/queries.ts";
import { Empty } from "../ui/states.tsx";

interface MaySeeProps {
  title: string;
  /** One of these is enough. */
  actions: readonly Action[];
  children: ReactNode;
}

export function MaySee({ title, actions, children }: MaySeeProps) {
  const me = useMe();
  if (actions.some((action) => mayDo(me, action))) return children;
  return (
    <div className="page">
      <div className="page-head">
        <h1>{title}</h1>
      </div>
      <section className="card">
        <Empty title="Not for you to see" icon="access">
          <p>
            This needs{" "}
            {actions.map((action, index) => (
              <Fragment key={action}>
                {index > 0 && " or "}
                <code>{action}</code>
              </Fragment>
            ))}
            , which {me ? `the role ${me.role}` : "your role"} or the key you signed in with does not have.
          </p>
          <p>
            <Link to="/">To the fleet</Link>
          </p>
        </Empty>
      </section>
    </div>
  );
}
