# Builds the addon, in a checkout and from the published package alike. It is in this folder and
# not at the root because npm runs node-gyp by itself wherever it meets a binding.gyp at the root
# of a package (see HACKING.md, "Packaging").
{
  'targets': [{
    'target_name': 'sekering',
    'includes': ['addon.gypi'],
    'include_dirs': ['.', "<!(node -p \"require('node-addon-api').include_dir\")"],
    'defines': [
      'NDEBUG',  # Assertions are for tests and sanitizers.
      'NAPI_VERSION=9',
      '_CRT_RAND_S',  # For rand_s, on Windows.
      'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
      'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
    ],
    'cflags_cc': ['-std=c++20', '-O3', '-Wall', '-Wextra', '-fvisibility=hidden'],
    'cflags_cc!': ['-std=gnu++17', '-std=gnu++20'],
    'conditions': [
      # Without nodelete the library is unmapped when the last worker that loaded it ends, while
      # its code may still be on the stack of that thread. Without now a function that this runtime
      # lacks ends the process at its first call; so the library does not load, and JavaScript can
      # catch the error.
      ['OS=="linux"', { 'ldflags': ['-Wl,-z,nodelete', '-Wl,-z,now'] }],
      ['OS=="mac"', {
        'xcode_settings': {
          'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
          'GCC_OPTIMIZATION_LEVEL': '3',
          'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
          'MACOSX_DEPLOYMENT_TARGET': '11.0',
        },
      }],
      ['OS=="win"', {
        'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': ['/std:c++20', '/O2'] } },
      }],
    ],
  }],
}
