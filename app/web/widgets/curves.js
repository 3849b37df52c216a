// Draws curves with intervals. The colours are told apart by colour-blind readers, too; text enters
// the page as text.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [720, 300, 46, 34, 10];
const DASHES = ["", "6 3", "2 3", "9 3 2 3"];

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function scales(curves) {
  const points = curves.flatMap((one) => one.points);
  const xs = points.map((p) => p[0]), ys = points.flatMap((p) => [p[1], p[2] ?? p[1], p[3] ?? p[1]]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = [Math.min(0, ...ys), Math.max(...ys)];
  return {
    x: (v) => LEFT + ((v - x0) / (x1 - x0 || 1)) * (WIDTH - LEFT - 12),
    y: (v) => HEIGHT - BOTTOM - ((v - y0) / (y1 - y0 || 1)) * (HEIGHT - BOTTOM - TOP),
    xs: [...new Set(xs)].sort((a, b) => a - b),
    ys: ticks(y0, y1, 6),
  };
}

function axes(at, data) {
  const parts = at.ys.flatMap((v) => [
    draw("line", { x1: LEFT, x2: WIDTH - 12, y1: at.y(v), y2: at.y(v), class: "grid" }),
    draw("text", { x: LEFT - 6, y: at.y(v) + 4, "text-anchor": "end" }, v),
  ]);
  for (const v of at.xs) parts.push(draw("text", { x: at.x(v), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, v));
  parts.push(draw("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 2, "text-anchor": "middle" }, data.x));
  return parts;
}

function curve(one, n, at) {
  const group = draw("g", { class: `curve c${n % 9}` });
  const bounds = one.points.filter((p) => p[2] !== null && p[3] !== null);
  const upper = bounds.map((p) => `${at.x(p[0])},${at.y(p[3])}`);
  const lower = bounds.map((p) => `${at.x(p[0])},${at.y(p[2])}`).reverse();
  if (bounds.length > 1) group.append(draw("polygon", { points: [...upper, ...lower].join(" "), class: "band" }));
  const line = one.points.map((p) => `${at.x(p[0])},${at.y(p[1])}`).join(" ");
  group.append(draw("polyline", { points: line, "stroke-dasharray": DASHES[Math.floor(n / 6) % 4] }));
  for (const p of one.points) {
    const dot = draw("circle", { cx: at.x(p[0]), cy: at.y(p[1]), r: 3.5 });
    const within = p[2] === null ? "" : `\n95 % interval ${p[2].toFixed(4)} to ${p[3].toFixed(4)}`;
    dot.dataset.tip = `${one.name} at ${p[0]}: ${p[1].toFixed(4)}${within}`;
    group.append(dot);
  }
  return group;
}

function legend(data) {
  const node = document.createElement("div");
  node.className = "legend";
  data.curves.forEach((one, n) => {
    const item = document.createElement(one.href ? "a" : "span");
    item.className = `c${n % 9}${n < 6 ? "" : " dashed"}`;
    item.textContent = one.name;
    if (one.href) item.href = one.href;
    node.append(item);
  });
  return node;
}

export default function ({ data, parentElement }) {
  const key = JSON.stringify(data);
  let root = parentElement.querySelector(".curves");
  if (!root) {
    root = parentElement.appendChild(document.createElement("div"));
    root.className = "drawn curves";
  }
  if (root.key === key) return;
  root.key = key;
  const at = scales(data.curves);
  const plot = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": data.y });
  plot.append(...axes(at, data), ...data.curves.map((one, n) => curve(one, n, at)));
  const title = document.createElement("div");
  title.className = "title";
  title.textContent = data.y;
  root.replaceChildren(title, plot, legend(data));
}
