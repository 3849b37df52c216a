// Draws the curves of a training: one small plot a figure, one line a layer. Hovering tells every
// layer's value at that step. Text enters the page as text.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP] = [250, 150, 40, 8, 20, 8];
const FEW = 6;
let byRatio = false;

function make(tag, kind, text) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
}

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const short = (value) => (value >= 1e6 ? `${+(value / 1e6).toPrecision(3)}M`
  : value >= 1e3 ? `${+(value / 1e3).toPrecision(3)}k` : String(+value.toPrecision(3)));
const sig = (value) => (value === null ? "–" : String(+value.toPrecision(4)));

// A few layers by colours that all readers can tell apart, many from pale to dark.
function paint(node, n, count) {
  if (count <= FEW) node.classList.add(`c${n}`);
  else node.style.setProperty("--c", `color-mix(in oklab, var(--src-ink) ${Math.round(25 + (75 * n) / (count - 1))}%, var(--act))`);
  return node;
}

function scale(plot, tokens) {
  const at = byRatio ? Math.log : (v) => v;
  const [first, last] = [at(tokens[0]), at(tokens[tokens.length - 1])];
  const x0 = byRatio ? first : 0;
  const values = plot.values.flat().filter((v) => v !== null);
  const high = Math.max(...values, 0) || 1;
  const across = WIDTH - LEFT - RIGHT, up = HEIGHT - BOTTOM - TOP;
  return {
    x: (v) => LEFT + (across * (at(v) - x0)) / (last - x0 || 1),
    y: (v) => HEIGHT - BOTTOM - (up * v) / high,
    high,
  };
}

function axes(to, tokens) {
  const parts = ticks(0, to.high).flatMap((v) => [
    draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: to.y(v), y2: to.y(v), class: "grid" }),
    draw("text", { x: LEFT - 6, y: to.y(v) + 4, "text-anchor": "end" }, v),
  ]);
  const ends = [[byRatio ? tokens[0] : 0, "start"], [tokens[tokens.length - 1], "end"]];
  for (const [v, anchor] of ends) {
    const x = anchor === "start" ? LEFT : WIDTH - RIGHT;
    parts.push(draw("text", { x, y: HEIGHT - 5, "text-anchor": anchor }, `${short(v)}${anchor === "end" ? " tokens" : ""}`));
  }
  return parts;
}

function panel(plot, data) {
  const to = scale(plot, data.tokens);
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": plot.name });
  svg.append(...axes(to, data.tokens));
  const count = plot.values.length;
  plot.values.forEach((values, n) => {
    const known = values.map((v, k) => [data.tokens[k], v]).filter(([, v]) => v !== null);
    const points = known.map(([x, y]) => `${to.x(x).toFixed(1)},${to.y(y).toFixed(1)}`).join(" ");
    svg.append(paint(draw("polyline", { points }), count > 1 ? n : 0, count));
  });
  const line = draw("line", { y1: TOP, y2: HEIGHT - BOTTOM, class: "cross", visibility: "hidden" });
  svg.append(line);
  const node = make("figure");
  const title = make("figcaption", "", plot.name);
  title.append(make("small", "", plot.words));
  node.append(title, svg);
  node.at = { to, line, svg, plot };
  return node;
}

function told(plot, data, k) {
  const names = plot.values.length > 1 ? data.names : [""];
  const lines = plot.values.map((values, n) => `${names[n].padEnd(10)} ${sig(values[k])}`.trimStart());
  return [`${plot.name} at step ${data.steps[k]}, ${data.tokens[k].toLocaleString("en")} tokens`, ...lines].join("\n");
}

let tip;
function hover(root, data) {
  const hide = () => {
    tip?.remove();
    for (const line of root.querySelectorAll(".cross")) line.setAttribute("visibility", "hidden");
  };
  root.onmouseleave = hide;
  root.onmousemove = (event) => {
    hide();
    const at = event.target.closest("figure")?.at;
    if (!at || !event.target.closest("svg")) return;
    const box = at.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) * WIDTH) / box.width;
    let k = 0;
    data.tokens.forEach((v, n) => { if (Math.abs(at.to.x(v) - x) < Math.abs(at.to.x(data.tokens[k]) - x)) k = n; });
    for (const figure of root.querySelectorAll("figure")) {
      figure.at.line.setAttribute("x1", at.to.x(data.tokens[k]));
      figure.at.line.setAttribute("x2", at.to.x(data.tokens[k]));
      figure.at.line.setAttribute("visibility", "visible");
    }
    tip = make("div", "atlas-tip", told(at.plot, data, k));
    document.querySelector(".stApp").append(tip);
    const size = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - size.width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - size.height - 8))}px`;
  };
}

function toolbar(data, redraw) {
  const bar = make("div", "bar-top");
  const buttons = make("div", "switch");
  buttons.setAttribute("role", "group");
  buttons.setAttribute("aria-label", "Axis of tokens");
  for (const [name, ratio] of [["even", false], ["log", true]]) {
    const button = make("button", "", name);
    button.type = "button";
    button.setAttribute("aria-pressed", String(ratio === byRatio));
    button.onclick = () => { byRatio = ratio; redraw(); };
    buttons.append(button);
  }
  const legend = make("div", "legend");
  data.names.forEach((name, n) => {
    const item = paint(make(data.links[n] ? "a" : "span", "", name), n, data.names.length);
    if (data.links[n]) item.href = data.links[n];
    legend.append(item);
  });
  bar.append(make("span", "", "tokens:"), buttons, legend);
  return bar;
}

function drawAll(root, data) {
  const grid = make("div", "multiples");
  grid.append(...data.plots.map((plot) => panel(plot, data)));
  root.replaceChildren(toolbar(data, () => drawAll(root, data)), grid);
  hover(root, data);
}

export default function ({ data, parentElement }) {
  const key = JSON.stringify(data);
  let root = parentElement.querySelector(".training");
  if (!root) root = parentElement.appendChild(make("div", "drawn training"));
  if (root.key !== key) drawAll(root, data);
  root.key = key;
  return () => tip?.remove();
}
