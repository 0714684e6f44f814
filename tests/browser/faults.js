// What is wrong with the page as it is drawn, in words; nothing where nothing is.
(() => {
  const faults = [], root = document.documentElement;
  if (root.scrollWidth > innerWidth) faults.push(`the page is ${root.scrollWidth} px wide on a screen of ${innerWidth}`);
  const name = element => `<${element.tagName} ${element.className.baseVal ?? element.className}> ${element.textContent.trim().slice(0, 40)}`;
  const shown = element => element.checkVisibility({ contentVisibilityAuto: true });
  // What is wider than the page is in a box that scrolls; on paper nothing does.
  const scrolls = element => { const box = element.closest('.wide'); return box && getComputedStyle(box).overflowX === 'auto'; };
  for (const element of document.querySelectorAll('main *, header *')) {
    const box = element.getBoundingClientRect();
    if (shown(element) && box.width > 0 && box.right > innerWidth + 1 && !scrolls(element)) faults.push(`${name(element)} ends at ${box.right}`);
  }
  for (const section of document.querySelectorAll('section')) {
    if (section.getBoundingClientRect().height < 40) faults.push(`section ${section.id} is empty`);
  }
  // Words of a drawing stay in it, and those beside an axis do not lie on each other.
  for (const chart of document.querySelectorAll('svg.chart')) {
    const outer = chart.getBoundingClientRect(), words = [...chart.querySelectorAll('text')].map(text => text.getBoundingClientRect());
    if (outer.width < 200) faults.push(`a chart is ${outer.width} px wide`);
    words.forEach((one, at) => {
      if (one.left < outer.left - 1 || one.right > outer.right + 1 || one.bottom > outer.bottom + 1) faults.push(`words of ${chart.ariaLabel} leave it`);
      words.slice(at + 1).forEach(other => {
        if (one.left < other.right - 1 && other.left < one.right - 1 && one.top < other.bottom - 3 && other.top < one.bottom - 3) faults.push(`words of ${chart.ariaLabel} lie on each other`);
      });
    });
  }
  for (const box of document.querySelectorAll('svg.graph g > rect')) {
    const text = box.nextElementSibling.getBoundingClientRect(), around = box.getBoundingClientRect();
    if (text.left < around.left || text.right > around.right) faults.push(`${box.nextElementSibling.textContent} does not fit its box`);
  }
  // Contrast of WCAG 2.2, level AA: 4.5, of large letters 3.
  const light = colour => {
    const [r, g, b] = colour.match(/[\d.]+/g).map(Number).map(part => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    const colour = getComputedStyle(element).backgroundColor, alpha = Number(colour.match(/[\d.]+/g)[3] ?? 1);
    return alpha === 1 || !element.parentElement ? (alpha === 1 ? colour : 'rgb(255, 255, 255)') : behind(element.parentElement);
  };
  for (const element of document.querySelectorAll('header *, main *, footer')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !shown(element) || ['TITLE'].includes(element.tagName.toUpperCase())) continue;
    const style = getComputedStyle(element), colour = element.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [one, other] = [light(colour), light(behind(element))].sort((a, b) => b - a), size = parseFloat(style.fontSize);
    if ((one + 0.05) / (other + 0.05) < (size >= 24 ? 3 : 4.5)) faults.push(`${name(element)} has a contrast of ${((one + 0.05) / (other + 0.05)).toFixed(1)}`);
    if (size < 9) faults.push(`${name(element)} has letters of ${size} px`);
  }
  return faults;
})()
