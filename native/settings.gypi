# Compiler settings shared by the two entry points: ../binding.gyp in a checkout and
# native/binding.gyp in the published package (see HACKING.md, "Packaging").
{
  'includes': ['addon.gypi'],
  'target_defaults': {
    'defines': [
      'NAPI_VERSION=9',
      'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
      'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
    ],
    'include_dirs': ["<!(node -p \"require('node-addon-api').include_dir\")"],
    'cflags_cc': ['-std=c++20', '-O3', '-Wall', '-Wextra', '-fvisibility=hidden'],
    'cflags_cc!': ['-std=gnu++17', '-std=gnu++20', '-O2'],
    'conditions': [
      ['OS=="linux"', { 'ldflags': ['-Wl,-z,nodelete'] }],
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
  },
}
