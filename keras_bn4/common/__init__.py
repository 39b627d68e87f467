"""What several folders share, one module for each subject.

Read `quiet`, `backends`, `errors`, `arguments`, `attributes`, `models`, `batches`,
`files`, `tables`, `figures`.
"""
