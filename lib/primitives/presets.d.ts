import { RetryOnOptions } from './classify';

/** The options of a breaker preset. Times are milliseconds. */
export interface BreakerPreset {
  /** Time limit of a call in ms. */
  readonly timeout?: number;
  /** Percentage of failures, 0 to 100, at which the circuit opens. */
  readonly errorThresholdPercentage?: number;
  /** How long the circuit stays open, in ms. */
  readonly resetTimeout?: number;
  /** Length of the window of counts in ms. */
  readonly rollingCountTimeout?: number;
  /** Into how many buckets the window is divided. */
  readonly rollingCountBuckets?: number;
  /** Calls in the window before the percentage counts. */
  readonly volumeThreshold?: number;
  /** Failures in a row that open the circuit. */
  readonly consecutiveFailures?: number;
  /** Failures in the window that open the circuit. */
  readonly failureCount?: number;
  /** How many of the last calls are judged, instead of a time. */
  readonly slidingWindowSize?: number;
  /** Calls among these before they are judged. */
  readonly minimumCalls?: number;
  /** Successful probes that close the circuit. */
  readonly successThreshold?: number;
  /** How long after closing, in ms, only a growing share of the calls passes. */
  readonly rampUp?: number;
}

/** The options of a retry preset. Times are milliseconds. */
export interface RetryPreset {
  /** Attempts after the first. */
  readonly retries?: number;
  /** By what each delay is multiplied. */
  readonly factor?: number;
  /** The first delay in ms. */
  readonly minTimeout?: number;
  /** The longest delay in ms. */
  readonly maxTimeout?: number;
  /** Time limit of all attempts together in ms. */
  readonly maxRetryTime?: number;
  /** Whether each delay is multiplied by a random number from 1 to 2. */
  readonly randomize?: boolean;
  /** Share by which a delay is varied at random: 0.1 is ±10 %. */
  readonly jitter?: number;
  /** Time limit of the first attempt, and by how much it grows with each further one, in ms. */
  readonly attemptTimeout?: { readonly initial: number; readonly increment: number };
  /** Which errors are retried. */
  readonly shouldRetry?: RetryOnOptions;
}

export type PresetName = keyof typeof presets;

export type RetryPresetName = keyof typeof retryPresets;

export type ProfileName = keyof typeof profiles;

/** Options for all breakers and retries of a deployment, to spread over their own. */
export interface Profile {
  /** For new CircuitBreaker(action, profile.breaker). */
  readonly breaker: BreakerPreset;
  /** For retry(fn, profile.retry). */
  readonly retry: RetryPreset;
}

/** Options for a CircuitBreaker, by name: `new CircuitBreaker(action, presets.smtp)`. */
export const presets: {
  /** Payments: opens at 50 % failures of at least 5 calls in 10 s, for 60 s; timeout 10 s. */
  readonly midtrans: BreakerPreset;
  /** A mail relay: opens at 60 % failures of at least 5 calls in 30 s, for 2 min; timeout 5 s. */
  readonly smtp: BreakerPreset;
  /** WhatsApp: opens at 70 % failures of at least 5 calls in 60 s, for 5 min; timeout 8 s. */
  readonly whatsapp: BreakerPreset;
  /** A database: opens at 50 % failures of at least 5 calls in 5 s, for 10 s; timeout 3 s. */
  readonly database: BreakerPreset;
  /** Pages and their API: opens after 5 failures in a row, for 5 min; no timeout of its own. */
  readonly movieApi: BreakerPreset;
  /** One session: opens after 15 failures in 5 min, for 10 min, and then starts anew. */
  readonly whatsappSession: BreakerPreset;
  /** An HTTP API: opens after 5 failures in a row, for 60 s; 3 probes close it. */
  readonly apiClient: BreakerPreset;
  /** Messaging: opens after 5 failures in a row, or 50 % of the last 100 calls, for 60 s. */
  readonly messaging: BreakerPreset;
  /** Green API: opens after 5 failures in a row, for 60 s; 3 probes close it; timeout 30 s. */
  readonly greenApi: BreakerPreset;
  /** Language models: opens after 3 failures in a row, for 2 min; timeout 30 s. */
  readonly aiProvider: BreakerPreset;
  /** A database service: opens after 10 failures in a row, for 30 s; timeout 30 s. */
  readonly databaseService: BreakerPreset;
};

/** Options for retry(), by name: `retry(fn, retryPresets.email)`. */
export const retryPresets: {
  /** 5 retries after 1 to 60 s, varied at random; of 5xx, 429, 408 and errors without a status. */
  readonly payment: RetryPreset;
  /** 3 retries after 1 to 60 s, varied at random; of 5xx, 429, 408 and errors without a status. */
  readonly email: RetryPreset;
  /** 5 retries after 2 to 30 s, varied at random; of 5xx, 429, 408 and errors without a status. */
  readonly statusCheck: RetryPreset;
  /** 3 retries after 1, 2 and 4 s; of 5xx and errors without a status. Attempts of 15, 20, … s. */
  readonly pageFetch: RetryPreset;
  /** 3 retries after 1 to 30 s, ±10 %; of 429, 500, 502 to 504 and errors without a status. */
  readonly apiClient: RetryPreset;
  /** 4 retries after 2, 4, 8 and 16 s; of 5xx, 429, 408 and errors without a status. */
  readonly outbox: RetryPreset;
};

/** Options for all breakers and retries of a deployment, by its kind. */
export const profiles: {
  /** At least 5 calls before a breaker opens, 10 s of rising load after it; retries for 2 min. */
  readonly production: Profile;
  /** Timeouts of 3 s, breakers that open late and for 5 s; 2 retries within seconds. */
  readonly development: Profile;
  /** Timeouts of 1 s, breakers that open for 100 ms; 1 retry after at most 10 ms. */
  readonly testing: Profile;
};

/** A breaker preset by name. @throws ERR_INVALID_OPTION, which lists the known names */
export function preset (name: PresetName): BreakerPreset;

/** A profile by name. @throws ERR_INVALID_OPTION, which lists the known names */
export function profile (name: ProfileName): Profile;
