/** An address that leads nowhere. */
import { Link } from "@tanstack/react-router";
import { Empty } from "../ui/states.tsx";

export function NotFound() {
  return (
    <main className="page">
      <Empty title="There is no such page">
        <Link to="/">Go to the fleet</Link>
      </Empty>
    </main>
  );
}
