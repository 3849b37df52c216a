// Keys for those who leave the mouse alone: / search, j and k through results or rows, Enter opens, x
// chooses, [ and ] to the page before and after.

const typing = (node) => node.closest?.("input, textarea, select, [contenteditable=true]");

function step(by) {
  const hits = [...document.querySelectorAll(".hit, tr:has([data-pick])")];
  if (!hits.length) return;
  const now = hits.findIndex((one) => one.classList.contains("at"));
  const next = Math.min(hits.length - 1, Math.max(0, now + by));
  hits.forEach((one, n) => one.classList.toggle("at", n === next));
  hits[next].scrollIntoView({ block: "nearest" });
}

function turn(words) {
  const links = document.querySelectorAll(".crumbs .right a, .pages a");
  [...links].find((one) => words.some((word) => one.textContent.includes(word)))?.click();
}

const KEYS = {
  "/": () => (document.querySelector("[data-testid=stMain] form:not(.top form) input[type=search]")
    ?? document.querySelector(".top input"))?.focus(),
  j: () => step(1),
  k: () => step(-1),
  Enter: () => document.querySelector(".at a.title, .at a.id")?.click(),
  x: () => document.querySelector(".at [data-pick]")?.click(),
  "[": () => turn(["previous", "first page"]),
  "]": () => turn(["next"]),
};

function onShortcut(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (event.target.closest?.("a, button, summary") && event.key === "Enter") return;
  if (!KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
}
