export * from './config';
export * from './degradation';
export * from './gateway';
export * from './health';
