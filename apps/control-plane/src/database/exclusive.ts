/** Work that one replica does at a time: whoever does not get the lock of its name leaves it to the other until the next turn. */
export type Exclusive = <Result>(name: string, run: () => Promise<Result>) => Promise<Result | "elsewhere">;

/** For one process, which has nobody beside it. */
export const unshared: Exclusive = (_name, run) => run();
