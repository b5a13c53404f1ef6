"""What stands between an editor and a Fire by mistake. Each guard can be overruled, on purpose and audited."""
