// Moves between pages without loading the app again: a link or a form in a page only changes the
// URL, and Streamlit runs the page that the URL names, as it does for the browser's Back button.

const main = () => document.querySelector('[data-testid="stMain"]');

function go(url, replace) {
  history[replace ? "replaceState" : "pushState"]({}, "", url);
  window.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  if (!replace) main()?.scrollTo(0, 0);
}

function onClick(event) {
  const link = event.target.closest?.('.stHtml a[href]:not([target]), .drawn a[href]');
  if (!link || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin) return;
  event.preventDefault();
  go(url);
}

// An empty field is a filter that was not set: it stays out of the URL.
function onSubmit(event) {
  const form = event.target.closest?.(".stHtml form");
  if (!form) return;
  event.preventDefault();
  const url = new URL(form.getAttribute("action"), location.href);
  for (const field of form.querySelectorAll("[data-name]")) {
    const name = field.dataset.name;
    if (field.value.trim() === "" || field.value === field.dataset.unset) url.searchParams.delete(name);
    else url.searchParams.set(name, field.value);
  }
  url.search = url.search.replaceAll("%2F", "/");
  go(url);
}

function onChange(event) {
  event.target.closest?.("select[data-now]")?.form.requestSubmit();
}

function onKey(event) {
  const isRun = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  if (isRun) event.target.closest?.(".stHtml textarea")?.form.requestSubmit();
}

// What has `data-tip` tells it at once; the browser's own titles come late.
let tip;
function onOver(event) {
  tip?.remove();
  const target = event.target.closest?.("[data-tip]");
  if (!target?.dataset.tip || !target.closest(".stHtml, .drawn")) return;
  tip = document.createElement("div");
  tip.className = "atlas-tip";
  tip.textContent = target.dataset.tip;
  document.querySelector(".stApp").append(tip);
  const [box, size] = [target.getBoundingClientRect(), tip.getBoundingClientRect()];
  const isLine = target.tagName === "path";
  const [x, below, above] = isLine
    ? [event.clientX, event.clientY + 14, event.clientY - 8]
    : [box.left, box.bottom + 6, box.top - 6];
  tip.style.left = `${Math.max(4, Math.min(x, innerWidth - size.width - 8))}px`;
  tip.style.top = `${below + size.height > innerHeight ? above - size.height : below}px`;
}

export default function ({ data }) {
  if (!window.atlasLinks) {
    window.atlasLinks = true;
    document.addEventListener("click", onClick);
    document.addEventListener("submit", onSubmit);
    document.addEventListener("change", onChange);
    document.addEventListener("keydown", onKey);
    document.addEventListener("keydown", onShortcut);
    watchPicks();
    document.addEventListener("mouseover", onOver);
    document.addEventListener("click", () => tip?.remove());
  }
  if (!data) return;
  if (data.author) {
    const author = encodeURIComponent(data.author);
    document.cookie = `atlas_author=${author}; path=/; max-age=31536000; SameSite=Lax`;
  }
  // Only from the URL that the page was made for: meanwhile the reader may have gone elsewhere.
  const seen = new URLSearchParams(data.seen).toString();
  if (data.replace && seen === new URLSearchParams(location.search).toString()) {
    const url = new URL(data.replace, location.href);
    if (url.href !== location.href) go(url, true);
  }
}
