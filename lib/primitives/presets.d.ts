import CircuitBreaker = require('./breaker');
import retry = require('./retry');

type PresetName = 'midtrans' | 'smtp' | 'whatsapp' | 'database' | 'movieApi' | 'whatsappSession' |
  'apiClient' | 'messaging' | 'greenApi' | 'aiProvider' | 'databaseService';
type RetryPresetName = 'payment' | 'email' | 'statusCheck' | 'pageFetch' | 'apiClient' | 'outbox';
type ProfileName = 'production' | 'development' | 'testing';

export interface Profile {
  readonly breaker: Readonly<CircuitBreaker.Options>;
  readonly retry: Readonly<retry.Options>;
}

export const presets: { readonly [name in PresetName]: Readonly<CircuitBreaker.Options> };
export const retryPresets: { readonly [name in RetryPresetName]: Readonly<retry.Options> };
export const profiles: { readonly [name in ProfileName]: Profile };

/** @throws TypeError or RangeError with code ERR_INVALID_OPTION, which lists the names */
export function preset (name: PresetName): Readonly<CircuitBreaker.Options>;
/** Options to lay over those of every breaker and every retry of a deployment. */
export function profile (name: ProfileName): Profile;
