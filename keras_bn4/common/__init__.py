"""What several folders share, one module for each subject.

Read `quiet`, `backends`, `progress`, `errors`, `arguments`, `attributes`, `models`,
`batches`, `array_files`, `files`, `tables`, `figures`.
"""
