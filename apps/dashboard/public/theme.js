// Before the first paint: the theme that was chosen here, else the system's.
{
  let chosen;
  try {
    chosen = localStorage.getItem("wolfpack-theme");
  } catch {
    // Storage may be forbidden; then the system decides.
  }
  const dark =
    chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
