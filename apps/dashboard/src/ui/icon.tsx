/** Line icons of 16 by 16, drawn in the colour of the text beside them; each means nothing without it. */
const paths = {
  fleet: "M2 3.5h12v3.500H2zM2 9h12v3.500H2zM4.5 5.250h.01M4.5 10.750h.01",
  topology: "M8 2.500v4M3.5 13v-2.500h9V13M8 6.500v4M6 2.500h4M2 13.500h3M6.5 13.500h3M11 13.500h3",
  sessions: "M2 3h12v8H2zM5.5 13.500h5M8 11v2.5",
  create: "M8 3v10M3 8h10",
  queue: "M2.5 4h11M2.5 8h11M2.5 12h6",
  events: "M1.5 8.500h3l2-5 3 9 2-4h3",
  audit: "M4 1.500h8v13H4zM6.5 5h3M6.5 8h3M6.5 11h2",
  access: "M6 9a3 3 0 1 1 2.5-4.500h6v2.500h-1.500V9H11V7H8.500A3 3 0 0 1 6 9z",
  health: "M8 13.500S2 10 2 6.200A3.2 3.2 0 0 1 8 4.700a3.2 3.2 0 0 1 6 1.500C14 10 8 13.5 8 13.500z",
  menu: "M2 4h12M2 8h12M2 12h12",
  close: "M3.5 3.500l9 9M12.5 3.500l-9 9",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.7 10.700L14 14",
  up: "M8 13V3.500M4 7l4-4 4 4",
  down: "M8 3v9.500M4 9l4 4 4-4",
  right: "M6 3l5 5-5 5",
  back: "M10 3L5 8l5 5",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1v1.500M8 13.500V15M1 8h1.500M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13.5 9.500A6 6 0 0 1 6.5 2.500a6 6 0 1 0 7 7z",
  user: "M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2.5 14c.5-3 2.7-4.5 5.5-4.500s5 1.5 5.5 4.5",
  leave: "M6 2.500H2.500v11H6M7 8h7M11 5l3 3-3 3",
  warning: "M8 2L1.5 13.500h13zM8 6.500v3.500M8 11.800h.01",
  check: "M2.5 8.500l3.5 3.5 7.5-8",
  copy: "M5.5 5.500h8v8h-8zM10.5 2.500h-8v8",
  external: "M9 2.500h4.500V7M13.5 2.500L7 9M11.5 9v4.500h-9v-9H7",
  more: "M3 8h.6M7.7 8h.6M12.4 8h.6",
  pause: "M5 3v10M11 3v10",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.500V8l2.500 1.500",
  refresh: "M13.5 8A5.5 5.5 0 1 1 11.5 3.700M11.5 1v3h-3",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      aria-hidden="true"
      focusable="false"
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      className="icon"
    >
      <path d={paths[name]} />
    </svg>
  );
}
