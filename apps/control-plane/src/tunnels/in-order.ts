/** Changes of one thing, each after the one that was asked for before it: none overtakes another. Those of different things are made at once. */
export type InOrder = <Result>(key: string, change: () => Promise<Result>) => Promise<Result>;

export function inOrder(): InOrder {
  const last = new Map<string, Promise<unknown>>();
  return (key, change) => {
    const changed = (last.get(key) ?? Promise.resolve()).then(change);
    // One that failed holds up nobody.
    const over: Promise<void> = changed
      .then(
        () => undefined,
        () => undefined,
      )
      .then(() => {
        if (last.get(key) === over) last.delete(key);
      });
    last.set(key, over);
    return changed;
  };
}
