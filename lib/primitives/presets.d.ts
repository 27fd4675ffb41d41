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

export type PresetName =
  | 'midtrans' | 'smtp' | 'whatsapp' | 'database'
  | 'movieApi' | 'whatsappSession' | 'apiClient' | 'messaging'
  | 'greenApi' | 'aiProvider' | 'databaseService';

export type RetryPresetName =
  | 'payment' | 'email' | 'statusCheck' | 'pageFetch' | 'apiClient' | 'outbox';

export type ProfileName = 'production' | 'development' | 'testing';

/** Options for all breakers and retries of a deployment, to spread over their own. */
export interface Profile {
  /** For new CircuitBreaker(action, profile.breaker). */
  readonly breaker: BreakerPreset;
  /** For retry(fn, profile.retry). */
  readonly retry: RetryPreset;
}

export const presets: { readonly [Name in PresetName]: BreakerPreset };
export const retryPresets: { readonly [Name in RetryPresetName]: RetryPreset };
export const profiles: { readonly [Name in ProfileName]: Profile };

/** A breaker preset by name. @throws ERR_INVALID_OPTION, which lists the known names */
export function preset (name: PresetName): BreakerPreset;

/** A profile by name. @throws ERR_INVALID_OPTION, which lists the known names */
export function profile (name: ProfileName): Profile;
