// Small components of the views.

import { html, useCallback, useEffect, useRef, useState } from './vendor/preact.js';

// Invisible characters, and those that change the direction of text, are shown as code points.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const HIDDEN_TEXT = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const code = character => `\\u{${character.codePointAt(0).toString(16)}}`;

/** Text from outside, in one line. */
export const Text = ({ children, ...rest }) =>
  html`<bdi ...${rest}>${String(children ?? '').replace(HIDDEN, code)}</bdi>`;

/** Text from outside, as it was written. */
export const Block = ({ children, label }) => html`<pre class="block" tabindex="0"
  role="region" aria-label=${label}>${String(children ?? '').replace(HIDDEN_TEXT, code)}</pre>`;

/** A number, with one decimal if it is small. */
export const short = value => value < 10 ? value.toFixed(1).replace(/\.0$/, '') : Math.round(value);

const UNITS = [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

export function duration (ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  const [size, unit] = UNITS.find(([least]) => seconds >= least) ?? [1, 's'];
  const value = seconds / size;
  return `${unit === 's' ? Math.floor(value) : short(value)} ${unit}`;
}

const clock = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit', minute: '2-digit', second: '2-digit',
});
const day = new Intl.DateTimeFormat('en-GB', {
  year: 'numeric', month: 'short', day: '2-digit', hour: '2-digit', minute: '2-digit',
  second: '2-digit', timeZoneName: 'short',
});

export const dateOf = value => day.format(new Date(value));
export const timeOf = value => clock.format(new Date(value));

/** How long ago, with the date as a tooltip. */
export function Ago ({ at }) {
  useTick(10_000);
  if (at === null || at === undefined) return html`<span>–</span>`;
  const date = new Date(at);
  const ms = Date.now() - date;
  const text = ms < -1000 ? `in ${duration(-ms)}` : ms < 2000 ? 'now' : `${duration(ms)} ago`;
  return html`<time datetime=${date.toISOString()} title=${dateOf(date)}>${text}</time>`;
}

/** How long until then, with the time as a tooltip. */
export function Until ({ at }) {
  useTick(1000);
  const date = new Date(at);
  const ms = date - Date.now();
  return html`<time datetime=${date.toISOString()} title=${dateOf(date)}>${
    ms <= 0 ? 'now' : `in ${duration(Math.max(ms, 1000))}`}</time>`;
}

/** For how long. */
export function For ({ since }) {
  useTick(1000);
  return html`<time datetime=${new Date(since).toISOString()} title=${dateOf(since)}
    >${duration(Math.max(Date.now() - new Date(since), 1000))}</time>`;
}

/** Renders again every `ms`. */
export function useTick (ms) {
  const [, set] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => set(n => n + 1), ms);
    return () => clearInterval(timer);
  }, [ms]);
}

export const count = value => Number(value).toLocaleString('en-US');

/**
 * The result of `load(signal)`: now, every `ms` (ten times as long while the page is hidden), and
 * when one of `inputs` changes.
 * @returns {{ data, error, reload: () => void }}
 */
export function usePoll (load, ms, inputs) {
  const [state, setState] = useState({ data: undefined, error: undefined });
  const current = useRef();
  useEffect(() => {
    let timer;
    let controller;
    async function look () {
      clearTimeout(timer);
      controller?.abort();
      const mine = controller = new AbortController();
      let next;
      try {
        const data = await load(mine.signal);
        next = () => ({ data, error: undefined });
      } catch (error) {
        next = old => ({ ...old, error });
      }
      if (mine.signal.aborted) return;
      setState(next);
      timer = setTimeout(look, document.hidden ? ms * 10 : ms);
    }
    const seen = () => { if (!document.hidden) look(); };
    document.addEventListener('visibilitychange', seen);
    current.current = look;
    look();
    return () => {
      clearTimeout(timer);
      controller.abort();
      document.removeEventListener('visibilitychange', seen);
    };
  }, inputs);
  const reload = useCallback(() => current.current?.(), []);
  return { ...state, reload };
}

/** A value that follows another one when that has stood still for `ms`. */
export function useSettled (value, ms = 300) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}

const PAGE = 50;
const LIST_MS = 10_000;

/** A list of the admin API, page by page, with a filter. It is loaded again when `turn` changes. */
export function useList (api, path, key, turn) {
  const [filter, setFilter] = useState({});
  const [pages, setPages] = useState([undefined]);
  const settled = useSettled(filter);
  useEffect(() => setPages([undefined]), [settled]);
  const before = pages.at(-1);
  const { data, error, reload } = usePoll(signal =>
    api.get(path, { ...settled, hours: undefined, before, limit: PAGE }, signal), LIST_MS,
  [api, path, turn, settled, before]);
  const rows = data?.[key] ?? [];
  return {
    rows, error, reload, filter, settled, pages, setPages, next: data?.next ?? undefined,
    isEmpty: data !== undefined && rows.length === 0,
    set: change => setFilter(old => ({ ...old, ...change })),
  };
}

/** The buttons of a list with several pages. */
const Pages = ({ list: { pages, setPages, next } }) =>
  pages.length === 1 && next === undefined ? null : html`<div class="buttons">
    <button disabled=${pages.length === 1} onClick=${() => setPages(pages.slice(0, -1))}>
      Newer</button>
    <button disabled=${next === undefined} onClick=${() => setPages([...pages, next])}>
      Older</button>
  </div>`;

/** Searches a list. */
export const Find = ({ list, placeholder }) => html`<label class="inline">Find <input type="search"
  maxlength="200" value=${list.filter.search ?? ''} placeholder=${placeholder} onInput=${event =>
    list.set({ search: event.target.value || undefined })}/></label>`;

/** Filters a list by one of some values. */
export const Choice = ({ list, name, label, values, wordOf }) => html`<label
  class="inline">${label} <select value=${list.filter[name] ?? ''} onChange=${event =>
    list.set({ [name]: event.target.value || undefined })}>
    <option value="">any</option>${values.map(value => html`<option key=${value}
      value=${value}>${wordOf(value)}</option>`)}</select></label>`;

const SPANS = { 'last hour': 1, 'last 24 hours': 24, 'last 7 days': 168 };
const HOUR_MS = 3_600_000;

/**
 * Filters a list by time: a span until now, or all before a moment. `word` says what happened
 * then.
 */
export const When = ({ list, word = 'Time' }) => html`<label class="inline">${word} <select
  value=${list.filter.hours ?? ''} onChange=${event => {
    const hours = Number(event.target.value);
    list.set(hours === 0 ? { hours: undefined, since: undefined }
      : { hours, since: Date.now() - hours * HOUR_MS });
  }}><option value="">any</option>${Object.entries(SPANS).map(([word, hours]) =>
    html`<option key=${word} value=${hours}>${word}</option>`)}</select></label>
  <label class="inline">Before <input type="datetime-local" onChange=${event =>
    list.set({ until: event.target.value ? new Date(event.target.value).getTime() : undefined })}
  /></label>`;

/** A list of useList: what is wrong with it, its rows by `row`, and the buttons of its pages. */
export const List = ({ list, error = list.error, what, empty, row }) => html`
  <${Problem} error=${error} what=${`Could not load ${what}`} />
  ${list.isEmpty && html`<${Empty}>${list.next === undefined ? empty
    : 'None among the newest. Press Older to look further.'}<//>`}
  <ul class="rows">${list.rows.map(row)}</ul>
  <${Pages} list=${list} />`;

/**
 * An entry of a list. If it has `details`, a button shows and hides them; `more` is its text.
 * `after` follows the button.
 */
export function Entry ({ children, details, more = 'More', label, after, ...rest }) {
  const [open, setOpen] = useState(false);
  return html`<li ...${rest}><div class="row">${children}
    ${details && html`<button class="small" aria-expanded=${String(open)} aria-label=${label}
      onClick=${() => setOpen(!open)}>${open ? 'Less' : more}</button>`}
    ${after}</div>${open && details()}</li>`;
}

/** A part of a view, with its heading. */
export const Section = ({ id, title, kind = 'wide', children }) => html`<section class=${kind}
  aria-labelledby=${`${id}-title`} data-part=${id}>
  <h2 id=${`${id}-title`} tabindex="-1">${title}</h2>${children}</section>`;

const SWITCHES = {
  closed: html`<path d="M2 12h10M28 12h10M12 12h16"/>`,
  open: html`<path d="M2 12h10M28 12h10M12 12L25 2"/>`,
  'half-open': html`<path d="M2 12h10M28 12h10"/><path d="M12 12L26 7" stroke-dasharray="3 3"/>`,
  disabled: html`<path d="M2 12h7M31 12h7" stroke-dasharray="2 3"/>`,
};

/** A breaker's state as the switch of a circuit diagram. */
export const Switch = ({ state }) => html`<svg class="switch" viewBox="0 0 40 18" width="40"
  height="18" aria-hidden="true">${SWITCHES[state] ?? SWITCHES.disabled}
  <circle cx="12" cy="12" r="2.500"/><circle cx="28" cy="12" r="2.500"/></svg>`;

const MARKS = {
  good: html`<path d="M3 8.500l3.500 3.500L13 4.500"/>`,
  warn: html`<path d="M8 3v6.500M8 12.200v.8"/>`,
  bad: html`<path d="M4 4l8 8M12 4l-8 8"/>`,
  info: html`<circle cx="8" cy="8" r="2"/>`,
};

/** A word with a mark whose shape, and not only its colour, says how good that is. */
export const Badge = ({ tone = 'info', children }) => html`<span class="badge ${tone}">
  <svg viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">${MARKS[tone]}</svg>
  <span>${children}</span></span>`;

export const Problem = ({ error, what }) => error === undefined ? null
  : html`<p class="problem" role="alert"><${Badge} tone="bad">Error<//> ${what}:
    <${Text}>${error.message}<//></p>`;

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

/** A dialog with a form; `onClose` is called when it is left in any way. */
export function Dialog ({ title, children, submit, tone, onSubmit, onClose }) {
  const element = useRef();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(undefined);
  useEffect(() => { element.current.showModal(); }, []);
  const send = async event => {
    event.preventDefault();
    setBusy(true);
    try {
      await onSubmit(new FormData(event.target));
      // Gives the focus back to where it was, which taking the dialog away would not.
      element.current.close();
    } catch (caught) {
      setError(caught);
      setBusy(false);
    }
  };
  return html`<dialog ref=${element} onClose=${onClose} aria-labelledby="dialog-title">
    <form method="dialog" onSubmit=${send}>
      <h2 id="dialog-title">${title}</h2>
      ${children}
      <${Problem} error=${error} what="That failed" />
      <div class="buttons">
        <button type="button" onClick=${() => element.current.close()}>Cancel</button>
        <button type="submit" class=${tone ?? 'primary'} disabled=${busy}>${submit}</button>
      </div>
    </form>
  </dialog>`;
}

/** The notes about a breaker, a message or an order; `path` is where a new one is sent. */
export function Notes ({ api, about, target, path, mayOperate }) {
  const [asked, setAsked] = useState(false);
  const { data, reload } = usePoll(signal => api.get('notes', { about, target }, signal), LIST_MS,
    [api, about, target]);
  const notes = data?.notes ?? [];
  return html`${notes.length > 0 && html`<h4>Notes</h4><ul class="log notes">${notes.map(
    ({ id, at, actor, note }) => html`<li key=${id}><${Ago} at=${at} /> <b><${Text}>${actor}<//></b>
      <span class="note-text"><${Text}>${note}<//></span></li>`)}</ul>`}
    ${mayOperate && html`<button class="small" onClick=${() => setAsked(true)}
      aria-label=${`Add a note about ${target}`}>Add a note …</button>`}
    ${asked && html`<${Dialog} title="Add a note" submit="Add" onClose=${() => setAsked(false)}
      onSubmit=${async form => {
        await api.post(path, { note: form.get('note').replaceAll('\r', '') });
        reload();
      }}>
      <p>About <${Text}>${target}<//>. Everybody who may read here sees it.</p>
      <label class="field">Note<textarea name="note" required maxlength="2000" rows="4"/></label>
    <//>`}`;
}

export const Reason = ({ label = 'Reason (kept in the audit log)', required = true }) =>
  html`<label class="field">${label}
    <input name="reason" required=${required} maxlength="500" autocomplete="off"/></label>`;
