import { RetryOnOptions } from './classify';

/** The options of a breaker preset. Times are milliseconds. */
export interface BreakerPreset {
  readonly timeout?: number;
  readonly errorThresholdPercentage?: number;
  readonly resetTimeout?: number;
  readonly rollingCountTimeout?: number;
  readonly rollingCountBuckets?: number;
  readonly volumeThreshold?: number;
  readonly consecutiveFailures?: number;
  readonly failureCount?: number;
  readonly slidingWindowSize?: number;
  readonly minimumCalls?: number;
  readonly successThreshold?: number;
  readonly rampUp?: number;
}

/** The options of a retry preset. Times are milliseconds. */
export interface RetryPreset {
  readonly retries?: number;
  readonly factor?: number;
  readonly minTimeout?: number;
  readonly maxTimeout?: number;
  readonly maxRetryTime?: number;
  readonly randomize?: boolean;
  readonly jitter?: number;
  readonly attemptTimeout?: { readonly initial: number; readonly increment: number };
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
  readonly breaker: BreakerPreset;
  readonly retry: RetryPreset;
}

export const presets: { readonly [Name in PresetName]: BreakerPreset };
export const retryPresets: { readonly [Name in RetryPresetName]: RetryPreset };
export const profiles: { readonly [Name in ProfileName]: Profile };

/** A breaker preset by name. @throws ERR_INVALID_OPTION, which lists the known names */
export function preset (name: PresetName): BreakerPreset;

/** A profile by name. @throws ERR_INVALID_OPTION, which lists the known names */
export function profile (name: ProfileName): Profile;
