"""What is looked at in a page, as JavaScript that gives what is wrong with it."""

OVERLAPS = """(() => {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    if (!node.data.trim() || node.parentNode.closest("script, style, title, option")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width && box.height) texts.push([node.data.trim().slice(0, 40), box]);
    }
  }
  const found = [];
  texts.forEach(([a, p], i) => texts.slice(i + 1).forEach(([b, q]) => {
    const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    // the boxes of lines are higher than their letters
    if (wide > 1 && high > 0.3 * Math.min(p.height, q.height)) found.push(`${a} | ${b}`);
  }));
  return [texts.length, found];
})()"""
"""How many texts there are, and those that lie on another."""

CUT = """[...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => e.getAttribute("aria-label"))"""
"""Tables that are wider than the room they have, by name."""

CONTRAST = """(() => {
  const colour = text => {
    const [r, g, b, a = 1] = (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    return {rgb: [r, g, b], seen: a > 0.5};
  };
  const light = ({rgb}) => { const [r, g, b] = rgb.map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const under = text => {
    const box = text.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
    const shapes = [...text.ownerSVGElement.querySelectorAll("rect, circle, path, polygon")];
    const below = shapes.filter(shape => {
      const b = shape.getBoundingClientRect();
      return shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING
        && getComputedStyle(shape).fill !== "none"
        && b.left <= x && x <= b.right && b.top <= y && y <= b.bottom;
    });
    if (below.length) return colour(getComputedStyle(below.at(-1)).fill);
    for (let at = text.ownerSVGElement; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found.seen) return found;
    }
    return {rgb: [255, 255, 255]};
  };
  const texts = [...document.querySelectorAll("svg text")].filter(t => t.getClientRects().length);
  const poor = [];
  for (const text of texts) {
    const [ink, paper] = [colour(getComputedStyle(text).fill), under(text)].map(light);
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) poor.push(`${text.textContent}: ${ratio.toFixed(2)}`);
  }
  return [texts.length, poor];
})()"""
"""How many texts there are in pictures, and those with less contrast than 4.5 to what they lie on.

axe-core does not decide on these. A text lies on the last shape before it that has its middle, else
on the background of the picture or of what it stands in.
"""

AUDIT = """axe.run().then(found => [
  found.violations.map(rule => [rule.id, rule.nodes.map(node => node.html)]),
  found.incomplete.filter(rule => rule.id === "color-contrast")
    .flatMap(rule => rule.nodes.map(node => node.target.join(" ")))
    .filter(target => !document.querySelector(target).closest("svg, th[rowspan]")),
])"""
"""What axe-core finds: broken rules with the elements, and elements outside of pictures whose
contrast it can't tell. Headers over two rows, which it never can, are coloured as the others."""
