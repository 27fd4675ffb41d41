// Breakers and their charts, the degradation level, health, and the latest events.

import { html, useEffect, useRef, useState } from './vendor/preact.js';

import {
  Ago, Badge, Dialog, Empty, For, Notes, Problem, Reason, Section, Switch, Text, Until, count,
  duration, short, timeOf,
} from './ui.js';

export const CARDS_MAX = 24;
const STATES = {
  open: { word: 'Open', means: 'calls are rejected', tone: 'bad' },
  'half-open': { word: 'Half open', means: 'testing with a few calls', tone: 'warn' },
  disabled: { word: 'Disabled', means: 'calls are not watched', tone: 'info' },
  closed: { word: 'Closed', means: 'calls go through', tone: 'good' },
};

const ms = value => value === null ? '–' : duration(value);
const percent = value => `${short(value)} %`;

const LATENCY_LINES = [
  { stroke: '--line-p99', dash: [2, 2] }, { stroke: '--line-p95', dash: [5, 3] },
  { stroke: '--line-p50' },
];
const ERROR_LINES = [{ stroke: '--line-bad', fill: '--fill-bad' }];

// ---- Charts ------------------------------------------------------------------------------------

const dark = matchMedia('(prefers-color-scheme: dark)');

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A time of a chart's axis: seconds only where they differ. */
const clockOf = (at, hasSeconds) => timeOf(at * 1000).slice(0, hasSeconds ? 8 : 5);

function optionsOf ({ lines, max, format, width, height }) {
  const axis = { stroke: colour('--quiet'), font: '10px system-ui, sans-serif' };
  const grid = { stroke: colour('--line'), width: 1 };
  return {
    width,
    height,
    padding: [6, 26, 0, 0],
    cursor: { show: false },
    legend: { show: false },
    scales: { x: { time: true }, y: { range: (u, low, high) => [0, Math.max(high ?? 0, max)] } },
    axes: [
      {
        ...axis, grid: { show: false }, ticks: { ...grid, size: 3 }, size: 20, gap: 2, space: 64,
        values: (u, splits, index, space, step) => splits.map(at => clockOf(at, step < 60)),
      },
      {
        ...axis, grid, ticks: { show: false }, size: 40, gap: 4, space: 22,
        values: (u, splits) => splits.map(format),
      },
    ],
    series: [{}, ...lines.map(({ stroke, dash, fill }) => ({
      stroke: colour(stroke), width: 1.5, dash, points: { show: false },
      fill: fill && colour(fill), spanGaps: false,
    }))],
  };
}

/**
 * A small chart by uPlot, whose script puts it into `window`. `data` holds seconds first, then the
 * values of each line, null for none; `lines` name the CSS variables of their colours. The scale
 * goes at least up to `max`.
 */
function Chart ({ data, lines, max, format, label, height = 72 }) {
  const place = useRef();
  const chart = useRef();
  const latest = useRef();
  latest.current = data;
  useEffect(() => {
    const draw = () => {
      chart.current?.destroy();
      const width = place.current.clientWidth || 200;
      const { uPlot: Plot } = window;
      chart.current = new Plot(optionsOf({ lines, max, format, width, height }),
        latest.current, place.current);
    };
    draw();
    dark.addEventListener('change', draw);
    const observer = new ResizeObserver(([{ contentRect: { width } }]) => {
      if (width > 0 && Math.abs(width - chart.current.width) > 1) {
        chart.current.setSize({ width, height });
      }
    });
    observer.observe(place.current);
    return () => {
      observer.disconnect();
      dark.removeEventListener('change', draw);
      chart.current.destroy();
      chart.current = undefined;
    };
  }, []);
  useEffect(() => { chart.current?.setData(data); });
  return html`<div class="chart ${height > 100 ? 'large' : ''}" ref=${place} role="img"
    aria-label=${label}></div>`;
}

const POINTS_MAX = 150;
const BREAKERS_MAX = 500;
const HISTORY = ['at', 'errorRate', 'p50', 'p95', 'p99'];

const emptyLines = () => Object.fromEntries(HISTORY.map(line => [line, []]));

/**
 * The figures of breakers: from the server, before this page was opened, and from this page since
 * then. All times are those of the server, in seconds.
 */
export class History {
  #lines = new Map();

  /** Takes over the history of the server. Later points that this page has seen stay. */
  begin ({ at, breakers }) {
    const times = at.map(ms => ms / 1000);
    for (const [key, figures] of Object.entries(breakers)) {
      const seen = this.#lines.get(key) ?? emptyLines();
      const later = seen.at.findIndex(time => time > times.at(-1));
      const past = { at: times, ...figures };
      this.#keep(key, Object.fromEntries(HISTORY.map(line =>
        [line, [...past[line], ...(later < 0 ? [] : seen[line].slice(later))]])));
    }
  }

  /** Adds the figures of a list of breakers. */
  add ({ at, breakers }) {
    const time = at / 1000;
    for (const { key, errorRate, fires, latency } of breakers) {
      const lines = this.#lines.get(key) ?? emptyLines();
      // Behind a load balancer, another process may have another clock.
      if (time <= lines.at.at(-1)) continue;
      const point = { at: time, errorRate: fires === 0 ? null : errorRate, ...latency };
      for (const line of HISTORY) lines[line].push(point[line] ?? null);
      this.#keep(key, lines);
    }
  }

  #keep (key, lines) {
    for (const line of HISTORY) lines[line].splice(0, lines[line].length - POINTS_MAX);
    this.#lines.delete(key);
    this.#lines.set(key, lines);
    while (this.#lines.size > BREAKERS_MAX) this.#lines.delete(this.#lines.keys().next().value);
  }

  of (key, ...lines) {
    const known = this.#lines.get(key);
    return ['at', ...lines].map(line => known?.[line] ?? []);
  }
}

// ---- The whole service -------------------------------------------------------------------------

const SERVICE_LINES = [
  { stroke: '--line-bad', dash: [2, 2] }, { stroke: '--line-p95', dash: [5, 3] },
  { stroke: '--line-p50' },
];

/** Orders, messages and errors of a day, of all processes that share the store. */
function Service ({ service: { data, error } }) {
  const { orders, messages, errors } = data?.totals ?? {};
  return html`<${Section} id="service" title="The service in the last 24 hours" kind="panel">
    <${Problem} error=${error} what="Could not load the chart of the service" />
    ${data && html`<figure><figcaption><span class="key p50">orders</span> <b>${count(orders)}</b>
      <span class="key p95">messages</span> <b>${count(messages)}</b>
      <span class="key bad">errors</span> <b>${count(errors)}</b>
      <span class="quiet unit">per minute</span></figcaption>
      <${Chart} lines=${SERVICE_LINES} max=${1} format=${short} height=${150}
        data=${[data.at.map(at => at / 1000), data.errors, data.messages, data.orders]}
        label=${`In the last 24 hours: orders ${count(orders)}, messages sent ${
          count(messages)}, failed calls ${count(errors)}`} /></figure>`}
  <//>`;
}

// ---- Breakers ----------------------------------------------------------------------------------

function Figures ({ breaker: { fires, failures, timeouts, rejects, windowMs } }) {
  const figures = [['calls', fires], ['failed', failures], ['timed out', timeouts],
    ['rejected', rejects]];
  return html`<dl class="figures" aria-label=${`In the last ${duration(windowMs)}`}>
    ${figures.map(([name, value]) => html`<div key=${name} class=${value === 0 ? 'none' : ''}>
      <dt>${name}</dt><dd>${count(value)}</dd></div>`)}</dl>`;
}

function Charts ({ breaker: { key, errorRate, latency, threshold }, history }) {
  return html`<div class="charts">
    <figure>
      <figcaption><span>errors</span> <b>${percent(errorRate)}</b></figcaption>
      <${Chart} lines=${ERROR_LINES} max=${100} format=${value => `${value}%`}
        data=${history.of(key, 'errorRate')}
        label=${`Error rate, now ${percent(errorRate)}; opens above ${threshold} %`} />
    </figure>
    <figure>
      <figcaption><span class="key p50">p50</span> <b>${ms(latency.p50)}</b>
        <span class="key p95">p95</span> <b>${ms(latency.p95)}</b>
        <span class="key p99">p99</span> <b>${ms(latency.p99)}</b></figcaption>
      <${Chart} lines=${LATENCY_LINES} max=${10} format=${value => duration(value)}
        data=${history.of(key, 'p99', 'p95', 'p50')}
        label=${`Latency: median ${ms(latency.p50)}, p95 ${ms(latency.p95)}, p99 ${
          ms(latency.p99)}`} />
    </figure>
  </div>`;
}

function Transitions ({ name, events }) {
  const own = events.filter(({ type, data }) => type === 'breaker' && data.name === name)
    .slice(0, 4);
  if (own.length === 0) return html`<p class="transitions quiet">no changes yet</p>`;
  return html`<ol class="transitions" aria-label="Last changes">${own.map(({ key, data }) =>
    html`<li key=${key}><time>${timeOf(data.at)}</time> ${STATES[data.state].word.toLowerCase()}
    </li>`)}</ol>`;
}

/** Who opened it, in words. */
const CAUSES = {
  errors: ({ errorRate, calls }) =>
    `automatically: ${percent(errorRate)} of ${count(calls)} calls failed`,
  probe: () => 'automatically: its test call failed',
  told: () => 'by hand, or by another process that shares it',
};

/** Why a breaker is open, when it tries again, and what failed last. */
function Why ({ breaker: { state, opened, nextTryAt, lastError } }) {
  if (state === 'closed' || state === 'disabled') return null;
  return html`<dl class="why">
    ${opened !== null && html`<div><dt>Opened</dt><dd>${CAUSES[opened.by](opened)}</dd></div>`}
    ${state === 'open' && nextTryAt !== null && html`<div><dt>Tries again</dt><dd><${Until}
      at=${nextTryAt} /></dd></div>`}
    ${lastError !== null && html`<div><dt>Last error</dt><dd><b><${Text}>${lastError.code}<//></b>
      ${' '}<${Text}>${lastError.message}<//>, <${Ago} at=${lastError.at} /></dd></div>`}
  </dl>`;
}

const SILENCES = { '30 minutes': 30, '2 hours': 120, '8 hours': 480, '1 day': 1440 };

/** Silences a breaker, or ends that. */
function SilenceDialog ({ api, name, isSilenced, onDone, onClose }) {
  return html`<${Dialog} title=${`${isSilenced ? 'End the silence of' : 'Silence'} ${name}`}
    submit=${isSilenced ? 'End it' : 'Silence'} onClose=${onClose} onSubmit=${async form => {
      await api.post(`circuit-breakers/${encodeURIComponent(name)}/silence`,
        { minutes: isSilenced ? 0 : Number(form.get('minutes')), reason: form.get('reason') });
      onDone();
    }}>
    <p>${isSilenced ? 'It counts as open again in the header and the title.'
      : 'While it is silenced, it is not counted in the header and not announced. It works as ever.'
    }</p>
    ${!isSilenced && html`<label class="field">For <select name="minutes">${
      Object.entries(SILENCES).map(([word, minutes]) => html`<option key=${word}
        value=${minutes}>${word}</option>`)}</select></label>`}
    <${Reason} />
  <//>`;
}

function Card (props) {
  const { breaker, history, events, mayOperate, onReset, silenced, api, session } = props;
  const [asked, setAsked] = useState(false);
  const [hasNotes, setHasNotes] = useState(false);
  const { name, state, openedAt } = breaker;
  const silence = silenced.get(name);
  const hasStore = session.parts.store;
  const { word, means } = STATES[state];
  return html`<article class="card ${state}" aria-label=${`Breaker ${name}`} data-breaker=${name}>
    <header>
      <h3><${Text} title=${name}>${name}<//></h3>
      ${mayOperate && html`<button class="small" onClick=${onReset}
        aria-label=${`Reset ${name}`}>Reset</button>`}
    </header>
    <p class="state"><${Switch} state=${state} /><b>${word}</b>
      <span class="quiet">${means}${state === 'open' && openedAt !== null
        ? html`, for <${For} since=${openedAt} />` : ''}</span></p>
    ${silence && html`<p class="silence"><${Badge}>silenced<//> <span class="quiet">until ${
      timeOf(silence.until).slice(0, 5)}, by <${Text}>${silence.actor}<//>: <${Text}>${
      silence.reason}<//></span></p>`}
    <${Why} breaker=${breaker} />
    <${Charts} breaker=${breaker} history=${history} />
    <${Figures} breaker=${breaker} />
    <${Transitions} name=${name} events=${events} />
    ${hasStore && html`<div class="card-foot">
      <button class="small" aria-expanded=${String(hasNotes)} aria-label=${`Notes about ${name}`}
        onClick=${() => setHasNotes(!hasNotes)}>Notes</button>
      ${mayOperate && html`<button class="small" onClick=${() => setAsked(true)}
        aria-label=${`${silence ? 'End the silence of' : 'Silence'} ${name}`}>${
        silence ? 'End silence …' : 'Silence …'}</button>`}
      ${asked && html`<${SilenceDialog} api=${api} name=${name} isSilenced=${Boolean(silence)}
        onClose=${() => setAsked(false)} onDone=${props.reloadSilences} />`}
      ${hasNotes && html`<${Notes} api=${api} about="breaker" target=${name}
        mayOperate=${mayOperate} path=${`circuit-breakers/${encodeURIComponent(name)}/note`} />`}
    </div>`}
  </article>`;
}

function Rows ({ breakers, mayOperate, onReset }) {
  return html`<ul class="rows">${breakers.map(breaker => html`<li key=${breaker.key}
    class="row ${breaker.state}"><${Switch} state=${breaker.state} />
    <b>${STATES[breaker.state].word}</b> <span class="grow"><${Text}>${breaker.name}<//></span>
    <span>${percent(breaker.errorRate)}</span> <span>p95 ${ms(breaker.latency.p95)}</span>
    ${mayOperate && html`<button class="small" onClick=${() => onReset(breaker)}
      aria-label=${`Reset ${breaker.name}`}>Reset</button>`}</li>`)}</ul>`;
}

function Filters ({ data, filter, setFilter }) {
  const chosen = state => ({ ...filter, state: filter.state === state ? undefined : state });
  return html`<div class="filters" role="search" aria-label="Breakers">
    <div class="chips">${Object.entries(STATES).map(([state, { word }]) => {
      const number = data?.counts[state] ?? 0;
      return number === 0 && state === 'disabled' ? null : html`<button key=${state}
        class="chip ${state}" aria-pressed=${String(filter.state === state)}
        onClick=${() => setFilter(chosen(state))}><${Switch} state=${state} />${word}
        <b>${count(number)}</b></button>`;
    })}</div>
    <label class="inline">Name <input type="search" value=${filter.search ?? ''} maxlength="200"
      onInput=${event => setFilter({ ...filter, search: event.target.value || undefined })}/>
    </label>
  </div>`;
}

function Breakers (props) {
  const { api, breakers: { data, error, reload }, notify, filter, setFilter } = props;
  const reset = async ({ name }) => {
    try {
      await api.post(`circuit-breakers/${encodeURIComponent(name)}/reset`);
      notify(`${name} was reset`);
    } catch (caught) {
      notify(`${name} was not reset: ${caught.message}`, 'bad');
    }
    reload();
  };
  const shown = data?.breakers ?? [];
  return html`<${Section} id="breakers" title="Breakers">
    <${Filters} data=${data} filter=${filter} setFilter=${setFilter} />
    <${Problem} error=${error} what="Could not load the breakers" />
    ${data && shown.length === 0 && html`<${Empty}>${data.total === 0
      ? 'There are no breakers yet. New ones appear here.'
      : 'No breaker matches.'}<//>`}
    <div class="cards">${shown.slice(0, CARDS_MAX).map(breaker => html`<${Card}
      key=${breaker.key} ...${props} breaker=${breaker} onReset=${() => reset(breaker)} />`)}
    </div>
    <${Rows} ...${props} breakers=${shown.slice(CARDS_MAX)} onReset=${reset} />
    ${data && data.found > shown.length && html`<p class="quiet">${
      count(data.found - shown.length)} more: narrow the search.</p>`}
  <//>`;
}

// ---- The rest ----------------------------------------------------------------------------------

function Features ({ data }) {
  const features = Object.entries(data.features);
  return html`${features.length > 0 && html`<h3>Features</h3><ul class="plain">${
    features.map(([name, enabled]) => html`<li key=${name}><${Badge}
      tone=${enabled ? 'good' : 'bad'}>${enabled ? 'on' : 'off'}<//>
      <${Text}>${name}<//></li>`)}</ul>`}`;
}

function LevelDialog ({ data, level, api, onDone, onClose }) {
  const automatic = level === null;
  return html`<${Dialog} title=${automatic ? 'Back to the automatic level'
      : `Set the level to ${level}`} submit=${automatic ? 'Make automatic' : `Set ${level}`}
    onClose=${onClose} onSubmit=${async form => {
      await api.post('degradation', { level, reason: form.get('reason') });
      onDone();
    }}>
    <p>${automatic ? `The automatic level is ${data.automatic.name} now.`
      : 'It stays until somebody changes it, whatever the state of the services.'}</p>
    <${Reason} />
  <//>`;
}

function Degradation ({ api, degradation: { data, error, reload }, mayOperate, notify }) {
  const [asked, setAsked] = useState(undefined);
  return html`<${Section} id="degradation" title="Level" kind="panel">
    <${Problem} error=${error} what="Could not load the level" />
    ${data && html`
      <ol class="levels">${data.levels.map((name, i) => html`<li key=${name}
        class=${i === data.level.index ? 'now' : ''}>
        <button disabled=${!mayOperate} onClick=${() => setAsked(name)}
          aria-current=${i === data.level.index ? 'true' : undefined}>
          <span class="steps" aria-hidden="true">${'▮'.repeat(i + 1)}</span>${name}
          ${i === data.level.index && html`<span class="tag">now</span>`}</button></li>`)}</ol>
      <p class="reason"><b>${data.manual ? 'By hand' : 'Automatic'}</b>, for <${For}
        since=${data.since} />: <${Text}>${data.reason}<//>
        ${data.manual && html` (<${Text}>${data.by}<//>)`}</p>
      ${data.manual && mayOperate && html`<button onClick=${() => setAsked(null)}>
        Back to automatic</button>`}
      <${Features} data=${data} />
      ${asked !== undefined && html`<${LevelDialog} data=${data} level=${asked} api=${api}
        onClose=${() => setAsked(undefined)} onDone=${() => {
          notify(asked === null ? 'The level is automatic again' : `The level is ${asked}`);
          reload();
        }} />`}`}
  <//>`;
}

const RANKS = { up: 0, healthy: 0, impaired: 1, degraded: 1, down: 2, unhealthy: 2 };
const CONDITIONS = [['good', 'up'], ['warn', 'impaired'], ['bad', 'down']];

/** Why a service is not as well as its check says, or the other way round. */
function contradiction (check, condition) {
  if (check === undefined || condition === undefined) return undefined;
  const [checked, served] = [RANKS[check.status], RANKS[condition]];
  if (served > checked) return 'the check succeeds, but calls fail';
  return served < checked ? 'calls succeed, but the check fails' : undefined;
}

/**
 * The services that the level depends on, and the checks, as one list: each name has one verdict,
 * which is the worse of both.
 */
function Health ({ health: { data, error }, degradation }) {
  const services = degradation.data?.services ?? {};
  const checks = data?.checks ?? {};
  const names = [...new Set([...Object.keys(services), ...Object.keys(checks)])];
  return html`<${Section} id="health" title="Health" kind="panel">
    <${Problem} error=${error} what="Could not load the health checks" />
    <ul class="plain health">${names.map(name => {
      const [check, condition] = [checks[name], services[name]];
      const rank = Math.max(RANKS[check?.status] ?? 0, RANKS[condition] ?? 0);
      const [tone, word] = CONDITIONS[rank];
      const why = contradiction(check, condition);
      return html`<li key=${name}><${Badge} tone=${tone}>${word}<//>
        <span class="grow"><${Text}>${name}<//>${check?.error &&
          html` <span class="quiet"><${Text}>${check.error}<//></span>`}
          ${why && html`<br/><span class="quiet">${why}</span>`}</span>
        <span class="quiet">${check === undefined ? 'by its calls'
          : html`${duration(check.responseTimeMs)}, <${Ago} at=${check.checkedAt} />`}</span></li>`;
    })}</ul>
  <//>`;
}

// Each kind of event: its name, and how good it is.
const KINDS = {
  breaker: ['breaker', ({ state }) => STATES[state]?.tone],
  degradation: ['level', () => 'warn'],
  'dead-letter': ['dead letter', () => 'bad'],
  'delivery-failed': ['not delivered', () => 'bad'],
  payment: ['payment', () => 'info'],
  'payment-held': ['review', () => 'warn'],
  'payment-released': ['review', () => 'good'],
  session: ['WhatsApp', () => 'warn'],
};
const kindOf = ({ type, data }) => {
  const [name = type, toneOf] = KINDS[type] ?? [];
  return html`<${Badge} tone=${toneOf?.(data) ?? 'info'}>${name}<//>`;
};

const SPANS = { 'last 5 minutes': 5, 'last hour': 60 };
const EVENTS_SHOWN = 40;
const isChosen = (type, kind) => kind === '' || KINDS[type]?.[0] === kind;

function Events ({ events }) {
  const [kind, setKind] = useState('');
  const [minutes, setMinutes] = useState('');
  const [search, setSearch] = useState('');
  const since = minutes === '' ? 0 : Date.now() - minutes * 60_000;
  const shown = events.filter(({ type, data, words }) => isChosen(type, kind) && data.at >= since &&
    words.toLowerCase().includes(search.toLowerCase()));
  return html`<${Section} id="events" title="Recent events" kind="panel">
    <div class="filters tight" role="search" aria-label="Events">
      <label class="inline">Kind <select value=${kind} onChange=${event =>
        setKind(event.target.value)}><option value="">any</option>${
        [...new Set(Object.values(KINDS).map(([name]) => name))].map(name => html`<option
          key=${name} value=${name}>${name}</option>`)}</select></label>
      <label class="inline">Time <select value=${minutes} onChange=${event =>
        setMinutes(event.target.value)}><option value="">any</option>${
        Object.entries(SPANS).map(([word, value]) => html`<option key=${word}
          value=${value}>${word}</option>`)}</select></label>
      <label class="inline">Find <input type="search" maxlength="200" value=${search}
        onInput=${event => setSearch(event.target.value)}/></label>
    </div>
    ${shown.length === 0 ? html`<${Empty}>${events.length === 0 ? 'No events yet.'
      : 'No event matches.'}<//>`
      : html`<ol class="log">${shown.slice(0, EVENTS_SHOWN).map(event => html`<li key=${event.key}>
        <time datetime=${new Date(event.data.at).toISOString()}>${timeOf(event.data.at)}</time>
        ${kindOf(event)} <${Text}>${event.words}<//></li>`)}</ol>`}
  <//>`;
}

export const Overview = props => html`<div class="overview">
  <div class="stack">
    ${props.session.parts.service && html`<${Service} service=${props.service} />`}
    <${Breakers} ...${props} />
  </div>
  <div class="side">
    ${props.session.parts.degradation && html`<${Degradation} ...${props} />`}
    ${(props.session.parts.health || props.session.parts.degradation) && html`<${Health}
      health=${props.health} degradation=${props.degradation} />`}
    <${Events} events=${props.events} />
  </div>
</div>`;
