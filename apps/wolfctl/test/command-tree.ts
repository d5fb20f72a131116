/** The tree of commands, as tests walk it. */
import type { Command } from "commander";
import { createProgram } from "../src/program.ts";
import { testEdges } from "./edges.ts";

export const program = createProgram(testEdges({ home: "/nonexistent" }));

export interface Leaf {
  words: string[];
  command: Command;
}

/** Commands that do something, with their words. */
export function leaves(command: Command = program, words: string[] = []): Leaf[] {
  return command.commands.flatMap((one) => {
    if (one.name().startsWith("__")) return [];
    const path = [...words, one.name()];
    return one.commands.length > 0 ? leaves(one, path) : [{ words: path, command: one }];
  });
}
