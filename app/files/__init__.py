"""The bytes of files: on the disk, or in a store that speaks S3."""
