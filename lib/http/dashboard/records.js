// The reliability report and the audit log.

import { html, useState } from './vendor/preact.js';

import { Ago, Badge, Empty, Problem, Section, Text, dateOf, usePoll } from './ui.js';

const REPORT_MS = 60_000;
const AUDIT_MS = 10_000;

const isObject = value => typeof value === 'object' && value !== null;
const title = name =>
  name.replace(/([a-z\d])([A-Z])/g, '$1 $2').replace(/[_-]/g, ' ').toLowerCase();

/** The rows of a value that is best shown as a table: a list of objects, or objects by name. */
function rowsOf (value) {
  const members = Object.values(value);
  if (members.length === 0 || !members.every(isObject)) return undefined;
  return Array.isArray(value) ? value
    : Object.entries(value).map(([name, row]) => ({ name, ...row }));
}

const MOMENT = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;

function plain (value) {
  if (typeof value === 'number') {
    return value.toLocaleString('en-US', { maximumFractionDigits: 2 });
  }
  return MOMENT.test(value) ? dateOf(value) : value ?? '–';
}

const Plain = ({ value }) => html`<${Text}>${plain(value)}<//>`;

function Table ({ rows, label }) {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}><table>
    <thead><tr>${columns.map(name => html`<th scope="col" key=${name}>${title(name)}</th>`)}</tr>
    </thead><tbody>${rows.map((row, i) => html`<tr key=${i}>${columns.map(name => html`<td
      key=${name}>${isObject(row[name]) ? html`<${Text}>${JSON.stringify(row[name])}<//>`
        : html`<${Plain} value=${row[name]} />`}</td>`)}</tr>`)}</tbody></table></div>`;
}

/** A value of a report, of any type. */
function Value ({ name, value, depth = 0 }) {
  if (!isObject(value)) {
    return html`<div class="pair"><dt>${title(name)}</dt>
      <dd><${Plain} value=${value} /></dd></div>`;
  }
  const heading = html`<h3>${title(name)}</h3>`;
  const rows = rowsOf(value);
  if (rows !== undefined) {
    return html`<div class="part">${heading}<${Table} rows=${rows} label=${title(name)} /></div>`;
  }
  if (Array.isArray(value)) {
    return html`<div class="part">${heading}<p>${value.length === 0 ? 'none'
      : html`<${Text}>${value.join(', ')}<//>`}</p></div>`;
  }
  const entries = Object.entries(value);
  return html`<div class="part depth-${Math.min(depth, 3)}">${heading}<dl class="pairs">
    ${entries.map(([key, member]) => html`<${Value} key=${key} name=${key} value=${member}
      depth=${depth + 1} />`)}</dl></div>`;
}

export function Report ({ api, notify }) {
  const { data, error, reload } = usePoll(signal =>
    api.get('report', { format: 'json' }, signal), REPORT_MS, [api]);
  const save = async () => {
    try {
      const text = await api.text('report', { format: 'html' });
      const link = document.createElement('a');
      link.href = URL.createObjectURL(new Blob([text], { type: 'text/html' }));
      link.download = `reliability-${new Date().toISOString().slice(0, 16).replace(':', '')}.html`;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (caught) {
      notify(`Could not save the report: ${caught.message}`, 'bad');
    }
  };
  const { summary = [], ...figures } = data ?? {};
  return html`<${Section} id="report" title="Reliability report" kind="wide report">
    <div class="buttons"><button onClick=${reload}>Regenerate</button>
      <button onClick=${save}>Save as HTML</button>
      <button onClick=${() => print()}>Print</button></div>
    <${Problem} error=${error} what="Could not generate the report" />
    ${summary.length > 0 && html`<ul class="summary panel">${summary.map(text => html`<li
      key=${text}><${Text}>${text}<//></li>`)}</ul>`}
    ${data && html`<dl class="pairs">${Object.entries(figures).map(([name, value]) => html`<${Value}
      key=${name} name=${name} value=${value} />`)}</dl>`}
  <//>`;
}

const toneOf = result => result === 'done' ? 'good' : result === 'not found' ? 'warn' : 'bad';

export function Audit ({ api }) {
  const [before, setBefore] = useState(undefined);
  const { data, error } = usePoll(signal => api.get('audit', { before, limit: 100 }, signal),
    AUDIT_MS, [api, before]);
  const entries = data?.entries ?? [];
  return html`<${Section} id="audit" title="Audit log">
    <${Problem} error=${error} what="Could not load the audit log" />
    ${data?.stored === false && html`<p class="quiet">Only what this process remembers. With a
      store, entries are kept permanently.</p>`}
    ${data && entries.length === 0 && html`<${Empty}>No changes yet.<//>`}
    <ul class="rows">${entries.map(({ id, at, actor, action, target, reason, result, detail }) =>
      html`<li key=${id} class="row"><span class="quiet"><${Ago} at=${at} /></span>
      <${Badge} tone=${toneOf(result)}><${Text}>${result}<//><//>
      <span class="grow"><b><${Text}>${actor}<//></b> ${action}
        ${target && html` <${Text}>${target}<//>`}
        ${isObject(detail) && Object.keys(detail).length > 0 && html` <span class="quiet">
          <${Text}>${JSON.stringify(detail)}<//></span>`}
        ${reason && html`<br/><span class="quiet">“<${Text}>${reason}<//>”</span>`}</span>
      </li>`)}</ul>
    <div class="buttons">${before !== undefined && html`<button onClick=${() =>
      setBefore(undefined)}>Newest</button>`}
      ${entries.length === 100 && html`<button onClick=${() => setBefore(entries.at(-1).id)}>
        Older</button>`}</div>
  <//>`;
}
