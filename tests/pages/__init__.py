"""The pages, by HTTP and in browsers."""
