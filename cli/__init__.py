"""The `penstock` command. One file per group of commands; each registers itself on the application in `__main__`.

Commands import what they need when they run: `penstock --help` must not wait for boto3, redis or the stubs.
"""
