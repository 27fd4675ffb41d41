# The one list of C++ sources: binding.gyp (node-gyp) and CMakeLists.txt both read it.
{
  'sources': [
    'core/backoff.cc',
    'core/breaker.cc',
    'core/histogram.cc',
    'core/permits.cc',
    'core/region.cc',
    'core/shared_bulkhead.cc',
    'core/trip.cc',
    'core/window.cc',
    'binding/addon.cc',
    'binding/backoff_api.cc',
    'binding/breaker_api.cc',
    'binding/breaker_config.cc',
    'binding/permits_api.cc',
    'binding/recorder.cc',
    'binding/shared.cc',
    'binding/shared_api.cc',
    'binding/waker.cc',
  ],
}
