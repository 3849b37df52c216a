"""The atlas in a browser: Streamlit pages over one `Atlas`. Every page is a URL."""
