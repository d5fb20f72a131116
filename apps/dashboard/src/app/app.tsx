/** What every component may use: the cache, notes, the router. */
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRouter, RouterProvider } from "@tanstack/react-router";
import { retryDelay, worthRetrying } from "../api/queries.ts";
import { ToastProvider } from "../ui/toast.tsx";
import { PageFailure } from "./page-failure.tsx";
import { provideClient, routeTree } from "./routes.tsx";
import { parseSearch, stringifySearch } from "./search-text.ts";
import { PageSkeleton } from "./shell.tsx";

const client = new QueryClient({
  defaultOptions: {
    queries: {
      retry: worthRetrying,
      retryDelay,
      // Events say when something is outdated.
      staleTime: 30_000,
      gcTime: 5 * 60_000,
      refetchOnWindowFocus: false,
    },
    mutations: { retry: false },
  },
});
provideClient(client);

const router = createRouter({
  routeTree,
  defaultPreload: "intent",
  defaultPendingComponent: PageSkeleton,
  defaultPendingMs: 150,
  // What breaks in one page leaves the frame and its stream alone.
  defaultErrorComponent: PageFailure,
  scrollRestoration: true,
  parseSearch,
  stringifySearch: stringifySearch as never,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

export function App() {
  return (
    <QueryClientProvider client={client}>
      <ToastProvider>
        <RouterProvider router={router} />
      </ToastProvider>
    </QueryClientProvider>
  );
}
