/** Around every page, also the login: what the browser's tab is called. */
import { Outlet, useParams, useRouterState } from "@tanstack/react-router";
import { useEffect } from "react";
import { useRead } from "../api/queries.ts";
import { titleOf } from "./title.ts";

export function Root() {
  const path = useRouterState({ select: (state) => state.location.pathname });
  const { id = "" } = useParams({ strict: false }) as { id?: string };
  // Only what the page has read: nothing is asked for a title.
  const wolf = useRead("getWolf", { params: { id } }, { enabled: false }).data;
  const session = useRead("getSession", { params: { id } }, { enabled: false }).data;
  const title = titleOf(path, path.startsWith("/wolves/") ? wolf?.name : id === "" ? "" : session?.name);
  useEffect(() => {
    document.title = title;
  }, [title]);
  return <Outlet />;
}
