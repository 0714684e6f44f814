//! How the page looks.

/// The style sheet. The colours of lines are those of Okabe and Ito, which people who see few colours can tell apart.
pub(super) const SHEET: &str = "\
:root {
  --paper: #fff; --ink: #1c1e21; --faint: #5c6370; --line: #dfe2e7; --panel: #f6f7f9; --link: #1558b0;
  --good: #1d7a3a; --bad: #b3261e; --warn: #8a5a00; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7;
  --c4: #b08900; --c5: #3f7fb5; --heat: 0, 114, 178; --edge: #0003;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181d; --ink: #e6e6e6; --faint: #a0a6b0; --line: #343841; --panel: #1e2127; --link: #8ab4f8;
    --good: #6cc885; --bad: #f2867f; --warn: #e0b050; --c0: #56b4e9; --c1: #ff9147; --c2: #3fd0a0; --c3: #e59cc4;
    --c4: #f0e442; --c5: #9dcbf0; --heat: 86, 180, 233; --edge: #fff4;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1rem 1rem 3rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .7rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
a { color: var(--link); }
nav { margin: 1rem 0 0; line-height: 2; }
nav a { margin-right: .9rem; white-space: nowrap; }
code, pre, .graph text, .digest { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; font-size: .9em; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem; white-space: pre-wrap; }
.badge { display: inline-block; margin: 0 0 .6rem; padding: .1rem .7rem; border-radius: 1rem; border: 1px solid; font-weight: 600; }
.badge.ran, .badge.hit, .good { color: var(--good); }
.badge.failed, .bad { color: var(--bad); }
.badge.stopped, .badge.missing { color: var(--warn); }
.warning { border-left: 4px solid var(--warn); background: var(--panel); padding: .5rem .8rem; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; }
dl.facts dt { color: var(--faint); }
dl.facts dd { margin: 0; }
.wide {
  overflow-x: auto; background: linear-gradient(to right, var(--paper) 1.5rem, transparent), linear-gradient(to left, var(--paper) 1.5rem, transparent),
    linear-gradient(to right, var(--edge), transparent 1rem), linear-gradient(to left, var(--edge), transparent 1rem);
  background-attachment: local, local, scroll, scroll;
}
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); overflow-wrap: normal; }
th { font-weight: 600; color: var(--faint); }
td.n, th.n { text-align: right; padding-left: .8rem; padding-right: 0; white-space: nowrap; }
td.n + td:not(.n), th.n + th:not(.n) { padding-left: 1.2rem; }
td.name { min-width: 8rem; overflow-wrap: anywhere; }
td small { color: var(--faint); }
tr.best td { font-weight: 600; }
tr.baseline td { color: var(--faint); font-style: italic; }
.faint, .digest { color: var(--faint); }
.digest { overflow-wrap: anywhere; min-width: 9rem; }
details { margin: .3rem 0; }
summary { cursor: pointer; }
.timeline { display: grid; grid-template-columns: minmax(7rem, 22rem) minmax(0, 1fr) max-content; gap: .25rem .8rem; align-items: center; }
.track { position: relative; height: .9rem; background: var(--panel); border-radius: 3px; }
.bar { position: absolute; top: 0; bottom: 0; min-width: 3px; border-radius: 3px; background: var(--c0); }
.bar.failed { background: var(--bad); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1rem 1.5rem; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-weight: 600; margin-bottom: .2rem; }
.chart { width: 100%; height: auto; display: block; }
.chart text { font-size: 11px; fill: var(--faint); font-family: inherit; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); } .s3 { stroke: var(--c3); } .s4 { stroke: var(--c4); }
.s5 { stroke: var(--c5); } .s6 { stroke: var(--faint); stroke-width: 1 !important; opacity: .6; }
circle.s0 { fill: var(--c0); } circle.s1 { fill: var(--c1); } circle.s2 { fill: var(--c2); } circle.s3 { fill: var(--c3); } circle.s4 { fill: var(--c4); }
circle.s5 { fill: var(--c5); } circle.s6 { fill: var(--faint); }
.legend { list-style: none; padding: 0; margin: .3rem 0; display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .9em; }
.legend svg { width: 1.4rem; height: .6rem; margin-right: .35rem; vertical-align: middle; }
table.confusion { border-spacing: 2px; border-collapse: separate; }
table.confusion td, table.confusion th { border: 0; padding: .25rem .5rem; text-align: center; }
table.confusion td.n { border-radius: 3px; }
table.confusion th[scope=row] { text-align: right; }
.graph { display: block; width: 100%; height: auto; }
.graph text { font-size: 13px; fill: var(--ink); }
.graph rect { fill: var(--paper); stroke: var(--faint); stroke-width: 1.2; }
.graph .source rect { fill: var(--panel); stroke: var(--c0); }
.graph .pipeline rect { fill: var(--panel); stroke: var(--good); }
.graph .ran rect { stroke: var(--c0); stroke-width: 2; }
.graph .failed rect { stroke: var(--bad); stroke-width: 2; }
.graph .stopped rect, .graph .missing rect { stroke-dasharray: 4 3; }
.graph path { fill: none; stroke: var(--faint); }
.graph marker path { fill: var(--faint); stroke: none; }
footer { margin-top: 3rem; color: var(--faint); font-size: .85em; }
@media (max-width: 600px) {
  body { padding: .6rem .7rem 2rem; font-size: 14px; }
  dl.facts { grid-template-columns: 1fr; gap: 0; }
  dl.facts dd { margin-bottom: .4rem; }
  .timeline { grid-template-columns: minmax(0, 1fr) max-content; grid-auto-flow: dense; }
  .timeline .track { grid-column: 1 / -1; margin-bottom: .4rem; }
  td.digest { white-space: nowrap; }
}
@media print {
  :root { --paper: #fff; --ink: #000; --faint: #444; --line: #bbb; --panel: #f4f4f4; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #8a6d00; --c5: #3f7fb5; --good: #1d7a3a; --bad: #b3261e; --warn: #8a5a00; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  section, tr, figure { break-inside: avoid; }
  section { break-inside: auto; }
  h2, h3 { break-after: avoid; }
  .charts { grid-template-columns: 1fr 1fr; }
  .wide { overflow: visible; background: none; }
  table { font-size: .9em; }
  th, td { padding-right: .5rem; }
  td.n, th.n { padding-left: .5rem; white-space: normal; }
  .graph { min-width: 0 !important; }
  details::details-content { content-visibility: visible; }
  .bar, table.confusion td.n { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
";
