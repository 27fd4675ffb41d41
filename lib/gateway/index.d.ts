export * from './degradation';
export * from './health';
