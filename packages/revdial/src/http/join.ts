/** Two byte streams as one: each direction ends on its own, a broken one takes the other with it. */
import { type Duplex, finished } from "node:stream";

export function joinSockets(left: Duplex, right: Duplex): Promise<void> {
  left.pipe(right);
  right.pipe(left);
  return new Promise((resolve) => {
    let open = 2;
    const over = (other: Duplex) => (error: Error | null | undefined) => {
      if (error) other.destroy();
      open -= 1;
      if (open === 0) resolve();
    };
    finished(left, over(right));
    finished(right, over(left));
  });
}
