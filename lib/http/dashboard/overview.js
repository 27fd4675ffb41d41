// Breakers, the degradation level, health, and the latest events.

import { html, useState } from './vendor/preact.js';

import { piece } from './api.js';
import { Chart } from './charts.js';
import {
  Badge, Dialog, Empty, For, Problem, Reason, Switch, Text, count, duration, short, timeOf,
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

function Card ({ breaker, history, events, mayOperate, onReset }) {
  const { name, state, openedAt } = breaker;
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
    <${Charts} breaker=${breaker} history=${history} />
    <${Figures} breaker=${breaker} />
    <${Transitions} name=${name} events=${events} />
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
      await api.post(`circuit-breakers/${piece(name)}/reset`);
      notify(`${name} was reset`);
    } catch (caught) {
      notify(`${name} was not reset: ${caught.message}`, 'bad');
    }
    reload();
  };
  const shown = data?.breakers ?? [];
  return html`<section aria-labelledby="breakers-title" class="wide">
    <h2 id="breakers-title">Breakers</h2>
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
  </section>`;
}

const CONDITIONS = {
  up: ['good', 'up'], impaired: ['warn', 'impaired'], down: ['bad', 'down'],
};

function Services ({ data }) {
  const services = Object.entries(data.services);
  const features = Object.entries(data.features);
  return html`
    ${services.length > 0 && html`<h3>Services</h3><ul class="plain">${
      services.map(([name, condition]) => html`<li key=${name}><${Badge}
        tone=${CONDITIONS[condition][0]}>${CONDITIONS[condition][1]}<//>
        <${Text}>${name}<//></li>`)}</ul>`}
    ${features.length > 0 && html`<h3>Features</h3><ul class="plain">${
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
  return html`<section aria-labelledby="level-title" class="panel" data-part="degradation">
    <h2 id="level-title">Level</h2>
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
      <${Services} data=${data} />
      ${asked !== undefined && html`<${LevelDialog} data=${data} level=${asked} api=${api}
        onClose=${() => setAsked(undefined)} onDone=${() => {
          notify(asked === null ? 'The level is automatic again' : `The level is ${asked}`);
          reload();
        }} />`}`}
  </section>`;
}

const HEALTH = { healthy: 'good', degraded: 'warn', unhealthy: 'bad' };

const Health = ({ health: { data, error } }) => html`<section aria-labelledby="health-title"
    class="panel" data-part="health">
  <h2 id="health-title">Health</h2>
  <${Problem} error=${error} what="Could not load the health checks" />
  <ul class="plain">${Object.entries(data?.checks ?? {}).map(([name, check]) => html`<li
    key=${name}><${Badge} tone=${HEALTH[check.status]}>${check.status}<//>
    <span class="grow"><${Text}>${name}<//>${check.error && html` <span class="quiet"><${Text}>${
      check.error}<//></span>`}</span>
    <span class="quiet">${duration(check.responseTimeMs)}</span></li>`)}</ul>
</section>`;

const TONES = {
  breaker: ({ state }) => STATES[state]?.tone ?? 'info',
  degradation: () => 'warn',
  'dead-letter': () => 'bad',
  'delivery-failed': () => 'bad',
  payment: () => 'info',
  'payment-held': () => 'warn',
  session: () => 'warn',
};
const KINDS = {
  breaker: 'breaker', degradation: 'level', 'dead-letter': 'dead letter',
  'delivery-failed': 'not delivered', payment: 'payment', 'payment-held': 'review',
  session: 'WhatsApp',
};

const Events = ({ events }) => html`<section aria-labelledby="events-title" class="panel"
    data-part="events">
  <h2 id="events-title">Recent events</h2>
  ${events.length === 0 ? html`<${Empty}>No events yet.<//>`
    : html`<ol class="log">${events.slice(0, 30).map(({ key, type, data, words }) => html`<li
      key=${key}><time datetime=${new Date(data.at).toISOString()}>${timeOf(data.at)}</time>
      <${Badge} tone=${TONES[type]?.(data) ?? 'info'}>${KINDS[type] ?? type}<//>
      <${Text}>${words}<//></li>`)}</ol>`}
</section>`;

export const Overview = props => html`<div class="overview">
  <${Breakers} ...${props} />
  <div class="side">
    ${props.session.parts.degradation && html`<${Degradation} ...${props} />`}
    ${props.session.parts.health && html`<${Health} health=${props.health} />`}
    <${Events} events=${props.events} />
  </div>
</div>`;
