/** What looks like an id of the API: a prefix that says of what, and a ULID. */
const id = (prefix: string) => new RegExp(`^${prefix}_[0-9A-HJKMNP-TV-Z]{26}$`);
const [any, wolf, user, session] = ["[a-z]{3}", "wlf", "usr", "ses"].map(id) as [
  RegExp,
  RegExp,
  RegExp,
  RegExp,
];

export const isAnyId = (text: string): boolean => any.test(text);
export const isWolfId = (text: string): boolean => wolf.test(text);
export const isUserId = (text: string): boolean => user.test(text);
export const isSessionId = (text: string): boolean => session.test(text);
