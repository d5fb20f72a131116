/** What an admin changes about a user. */
import { z } from "zod";
import { roles } from "./access.ts";

const quota = z.int().min(0).max(100_000).nullable();

export const userQuotas = {
  sessions_max: quota.meta({
    description: "Sessions at once; null: as many as the control plane allows everyone.",
  }),
  creates_per_minute: quota.meta({
    description: "Sessions created within a minute; null: as many as the control plane allows everyone.",
  }),
};

/** What is left out stays as it is. */
export const UpdateUserRequest = z
  .strictObject({ role: z.enum(roles), disabled: z.boolean(), ...userQuotas })
  .partial()
  .refine((changes) => Object.keys(changes).length > 0, "changes nothing")
  .meta({ id: "UpdateUserRequest" });
export type UpdateUserRequest = z.infer<typeof UpdateUserRequest>;
