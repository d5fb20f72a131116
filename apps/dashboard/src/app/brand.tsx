/** The name with its mark. */
export function Brand() {
  return (
    <span className="brand">
      <svg aria-hidden="true" width="26" height="26" viewBox="0 0 32 32">
        <rect width="32" height="32" rx="7" fill="var(--accent)" />
        <path d="M6 6l6 5h8l6-5v11l-4 6-6 4-6-4-4-6z" fill="var(--on-accent)" />
        <path d="M10.5 15.5l3.5 2-3 1zM21.5 15.5l-3.5 2 3 1zM14 22h4l-2 2.5z" fill="var(--accent)" />
      </svg>
      Wolfpack
    </span>
  );
}
