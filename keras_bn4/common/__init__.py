"""What several folders share, one module for each subject.

Read `quiet`, `backends`, `progress`, `errors`, `models`, `argument_names`,
`arguments`, `attributes`, `batches`, `array_files`, `files`, `records`, `tables`,
`figures`.
"""
