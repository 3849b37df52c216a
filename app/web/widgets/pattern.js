// Draws a head's attention on a prompt: one row per position that looks. Text enters as text.

function make(tag, kind, text) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
}

function cell(data, dst, src) {
  const value = data.rows[dst][src];
  const node = make("a", "cell");
  const [at, from] = [dst + data.first, src + data.first];
  const url = new URL(data.href, location.href);
  url.searchParams.set("pos", at);
  url.searchParams.set("src", from);
  node.href = url.href;
  node.style.setProperty("--v", Math.min(1, Math.sqrt(value / data.scale)).toFixed(3));
  node.style.gridColumn = src + 2;
  node.style.gridRow = dst + 2;
  node.dataset.tip = `${data.exact[dst]} ${at} looks at ${data.exact[src]} ${from}\nattention ${value.toFixed(4)}`;
  node.setAttribute("aria-label", node.dataset.tip);
  node.classList.toggle("first", from === 0);
  node.classList.toggle("here", at === data.pos && (data.src === null || from === data.src));
  return node;
}

function draw(root, data) {
  const plane = make("div", "plane");
  const n = data.tokens.length;
  plane.style.gridTemplateColumns = `max-content repeat(${n}, ${n > 32 ? 12 : 18}px)`;
  data.tokens.forEach((text, place) => {
    const [row, column] = [make("div", "row-name", text), make("div", "column-name", text)];
    row.style.gridRow = place + 2;
    row.style.gridColumn = 1;
    column.style.gridRow = 1;
    column.style.gridColumn = place + 2;
    plane.append(row, column);
    for (let src = 0; src <= place; src++) plane.append(cell(data, place, src));
  });
  root.replaceChildren(plane);
  if (data.left > 0) root.append(make("div", "left-out", `${data.left} positions are not drawn`));
}

export default function ({ data, parentElement }) {
  const key = JSON.stringify(data);
  let root = parentElement.querySelector(".pattern");
  if (!root) root = parentElement.appendChild(make("div", "drawn pattern"));
  if (root.key !== key) draw(root, data);
  root.key = key;
}
