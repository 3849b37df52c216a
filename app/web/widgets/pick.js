// What a reader has chosen, kept in this browser: a box on each result, a tray at the bottom.

const CHOSEN = "atlas_chosen", MOST = 200;

function chosen() {
  try {
    const kept = JSON.parse(localStorage.getItem(CHOSEN) ?? "[]");
    return Array.isArray(kept) ? kept.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}

function choose(names, on) {
  const kept = chosen().filter((one) => !names.includes(one));
  localStorage.setItem(CHOSEN, JSON.stringify((on ? [...kept, ...names] : kept).slice(-MOST)));
  showChosen();
}

function trayLink(text, page, parameters) {
  const node = document.createElement("a");
  const query = new URLSearchParams(parameters);
  const snapshot = new URLSearchParams(location.search).get("snapshot");
  if (snapshot) query.set("snapshot", snapshot);
  node.href = `${page}?${query.toString().replaceAll("%2F", "/").replaceAll("%2C", ",")}`;
  node.textContent = text;
  return node;
}

function showChosen() {
  const names = chosen();
  for (const box of document.querySelectorAll("[data-pick]")) box.checked = names.includes(box.dataset.pick);
  let tray = document.querySelector(".atlas-tray");
  if (!names.length) return tray?.remove();
  if (!tray) {
    tray = document.createElement("div");
    tray.className = "atlas-tray drawn";
    document.querySelector(".stApp")?.append(tray);
  }
  const key = names.join(",") + location.pathname + location.search;
  if (tray.dataset.key === key) return;
  tray.dataset.key = key;
  const clear = document.createElement("button");
  clear.type = "button";
  clear.textContent = "clear";
  clear.onclick = () => choose(names, false);
  tray.replaceChildren(trayLink(`${names.length} chosen`, "basket", { ids: names.join(",") }));
  const head = location.pathname.endsWith("/head") && new URLSearchParams(location.search).get("id");
  if (head) tray.append(trayLink("as evidence for a role", "head", { id: head, evidence: names.join(",") }));
  if (names.length === 2) tray.append(trayLink("compare", "compare", { a: names[0], b: names[1] }));
  tray.append(clear);
}

function onPick(event) {
  const box = event.target.closest?.("[data-pick]");
  if (box) choose([box.dataset.pick], box.checked);
}

function onPickAll(event) {
  if (!event.target.closest?.("[data-pick-all]")) return;
  event.preventDefault();
  const boxes = [...document.querySelectorAll("[data-pick]")];
  choose(boxes.map((box) => box.dataset.pick), boxes.some((box) => !box.checked));
}

function watchPicks() {
  document.addEventListener("change", onPick);
  document.addEventListener("click", onPickAll);
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; showChosen(); });
  };
  new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
  showChosen();
}
