# Builds the addon in a checkout. Not published: see "Packaging" in HACKING.md.
{
  'includes': ['native/settings.gypi'],
  'targets': [{
    'target_name': 'sekering',
    'include_dirs': ['native'],
    'sources': [
      "<!@(node -p \"'<(core_sources) <(binding_sources)'.split(' ').map(s => 'native/' + s).join(' ')\")",
    ],
  }],
}
