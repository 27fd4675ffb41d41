# The entry for `node-gyp rebuild` in a checkout: what there is to build stands in
# native/binding.gyp, which is published too. This one is not: npm runs node-gyp by itself wherever
# it meets a binding.gyp at the root of a package (see HACKING.md, "Packaging").
{
  'targets': [{
    'target_name': 'checkout',
    'type': 'none',
    'dependencies': ['native/binding.gyp:sekering'],
  }],
}
